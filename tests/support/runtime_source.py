"""A source tree of the runtime in small, with a lock file and its wheels, all made by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from pearrt.publish.runtime_lock import LockedWheel, RuntimeLock
from tests.support.wheels import make_wheel

LINUX, WINDOWS = "linux-x86_64-cp311", "windows-amd64-cp312"
_PYPROJECT = """
[tool.hatch.build.targets.wheel]
packages = ["pearrt"]
[tool.hatch.build.targets.wheel.force-include]
"examples/app" = "pearrt/demo/apps/app"
"""


class RuntimeSource:
    """`folder` is the source tree, `wheels` holds what `lock` names."""

    def __init__(self, root: Path, version: str = "1.0") -> None:
        self.folder = root / "source"
        self.wheels = root / "wheels"
        self._write("pyproject.toml", _PYPROJECT)
        self._write("LICENSE", "do as you like\n")
        self._write("pearrt/__init__.py", f'"""pearrt."""\n\n__version__ = "{version}"\n')
        self._write("pearrt/core.py", "x = 1\n" * 2000)
        self._write("pearrt/__pycache__/core.pyc", "left out")
        self._write("examples/app/main.py", "print('an example')\n")
        self.lock = RuntimeLock.of(
            [
                self.wheel("pure", variants=(LINUX, WINDOWS), files={"pure/a.py": text("a", 40_000)}),
                self.wheel("fast", "cp311-cp311-manylinux_2_28_x86_64", (LINUX,), files=_fast("so", "elf")),
                self.wheel("fast", "cp312-cp312-win_amd64", (WINDOWS,), files=_fast("pyd", "pe")),
                self.wheel("only-there", variants=(WINDOWS,), files={"only_there.py": text("o", 9_000)}),
            ]
        )
        self._write("packaging/runtime.lock", self.lock.encode())

    def wheel(
        self,
        name: str,
        tag: str = "py3-none-any",
        variants: Sequence[str] = (LINUX,),
        files: dict[str, str] | None = None,
    ) -> LockedWheel:
        """Makes the wheel and gives its entry of a lock file."""
        return locked(make_wheel(self.wheels, name, tag=tag, files=files), name, variants)

    def _write(self, path: str, content: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(content, encoding="utf-8")


def locked(path: Path, name: str, variants: Sequence[str] = (LINUX,)) -> LockedWheel:
    """The entry for a wheel file that lies there."""
    data = path.read_bytes()
    return LockedWheel(name, "1.0", path.name, len(data), hashlib.sha256(data).hexdigest(), tuple(variants))


def text(seed: str, size: int) -> str:
    """Reproducible text that compresses to about half."""
    out, digest = "", seed
    while len(out) < size:
        digest = hashlib.sha256(digest.encode()).hexdigest()
        out += digest
    return out[:size]


def _fast(suffix: str, content: str) -> dict[str, str]:
    return {
        "fast/__init__.py": text("init", 30_000),
        f"fast/_speed.{suffix}": text(content, 50_000),
        "fast/_speed.pyx": "source",
        "fast/tests/test_it.py": "test",
        "fast/zlast.py": text("last", 30_000),
    }
