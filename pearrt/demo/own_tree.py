"""pearrt as it is installed here, as the tree of a release: the package and all it imports, side by side."""

from __future__ import annotations

import os
import re
import shutil
from importlib import metadata
from pathlib import Path

import pearrt
from pearrt.demo.publisher import example

LEFT_OUT = (
    "__pycache__",
    ".dist-info",
    "/tests/",
    "aiohttp/.hash",
    "zstandard/_cffi",
    "zstandard/backend_rust",
)
NOT_NEEDED = {"pygments", "markdown-it-py", "mdurl", "pycparser"}  # nothing in the demo colours source code
LEFT_OUT_KINDS = (".pyi", ".pyx", ".pxd", ".c", ".h", ".pyc", ".pth")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def own_tree(folder: Path, version: str) -> Path:
    """A new tree at `folder` that calls itself `version`. Files are hard links where that is possible."""
    package = Path(pearrt.__file__).parent
    _copy(package, folder / "pearrt")
    if not (folder / "pearrt" / "demo" / "apps").exists():  # an editable install does without
        _copy(example(), folder / "pearrt" / "demo" / "apps" / "guestbook")
    names = _dependencies("pearrt")
    if not names:  # it runs out of such a tree already
        for path in package.parent.iterdir():
            if path.name != "pearrt":
                _copy(path, folder / path.name)
    for name in sorted(names):
        for entry in metadata.distribution(name).files or ():
            if ".." not in entry.parts:
                _copy(Path(str(entry.locate())), folder / entry)
    own = folder / "pearrt" / "__init__.py"
    own.unlink()
    own.write_text(f'"""pearrt, for a demo."""\n\n__version__ = "{version}"\n')
    return folder


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        for path in source.iterdir():
            _copy(path, target / path.name)
    elif not source.name.endswith(LEFT_OUT_KINDS) and not any(part in f"/{target}/" for part in LEFT_OUT):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copyfile(source, target)


def _dependencies(name: str) -> set[str]:
    """Names of all distributions installed here that `name` needs, itself left out."""
    found: set[str] = set()
    pending = [name]
    while pending:
        try:
            wanted = metadata.distribution(pending.pop()).requires or ()
        except metadata.PackageNotFoundError:
            continue
        for text in wanted:
            match = _NAME.match(text)
            key = re.sub(r"[-_.]+", "-", match[0]).lower() if match else ""
            if "extra ==" not in text and key not in found | NOT_NEEDED and _installed(key):
                found.add(key)
                pending.append(key)
    return found


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
