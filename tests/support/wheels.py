"""Wheels made by hand, and a pip that takes nothing else: staging packages without a network."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    files: dict[str, str] | None = None,
    scripts: dict[str, str] | None = None,
    requires: tuple[str, ...] = (),
    tag: str = "py3-none-any",
    requires_python: str = ">=3.8",
) -> Path:
    """A wheel (PEP 427) with a module `name`."""
    module = name.replace("-", "_").lower()
    info = f"{module}-{version}.dist-info"
    members = dict(files or {f"{module}/__init__.py": f"def main():\n    print('{name} {version}')\n"})
    metadata = [
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: {requires_python}"
    ]
    members[f"{info}/METADATA"] = (
        "\n".join([*metadata, *(f"Requires-Dist: {item}" for item in requires)]) + "\n"
    )
    pure = "true" if tag.endswith("-any") else "false"
    members[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: {pure}\nTag: {tag}\n"
    if scripts:
        lines = "\n".join(f"{script} = {target}" for script, target in scripts.items())
        members[f"{info}/entry_points.txt"] = f"[console_scripts]\n{lines}\n"
    record = [f"{path},{_digest(text)},{len(text.encode())}" for path, text in members.items()]
    members[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    folder.mkdir(exist_ok=True)
    path = folder / f"{module}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in members.items():
            archive.writestr(member, text)
    return path


def _digest(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def only_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes pip take wheels from `folder` alone."""
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
