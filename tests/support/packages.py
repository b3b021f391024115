"""Wheels from PyPI that were downloaded before the tests (`make test` does, from `packages.txt`), as the only
place that pip looks at."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.require import missing


def only_downloaded(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of wheels, made pip's only source. Without it the test is skipped; in CI it fails."""
    folder = Path(os.environ.get("PEARRT_TEST_PACKAGES") or Path(sys.prefix, "packages"))
    if not any(folder.glob("*.whl")):
        missing(f"needs wheels: pip download -d {folder} -r tests/support/packages.txt")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(folder)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return folder


def pin(folder: Path, name: str) -> str:
    """NAME==VERSION of the wheel that is there."""
    wheels = sorted(folder.glob(f"{name}-*.whl"))
    if not wheels:
        missing(f"needs the wheel of {name}")
    return f"{name}=={wheels[-1].name.split('-')[1]}"
