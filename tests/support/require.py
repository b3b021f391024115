"""What a test needs of the machine. Where it is missing the test is skipped with the reason; in CI, where
everything is installed on purpose, it fails instead. A skip that is right even there starts with one of
NOT_APPLICABLE."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from types import ModuleType
from typing import NoReturn

import pytest

IN_CI = os.environ.get("CI", "").lower() in ("1", "true")
NOT_APPLICABLE = ("not applicable",)


def missing(what: str) -> NoReturn:
    """Ends the test: skipped here, failed in CI."""
    if IN_CI:
        pytest.fail(f"{what} (required in CI)", pytrace=False)
    pytest.skip(what)


def require(*tools: str) -> None:
    """The commands that a test calls."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    if absent := [tool for tool in tools if shutil.which(tool, path=path) is None]:
        missing(f"needs {', '.join(absent)}")


def require_module(name: str) -> ModuleType:
    """A library that a test compares with."""
    try:
        return importlib.import_module(name)
    except ImportError:
        missing(f"needs the Python library {name}")


def require_system_python() -> None:
    """What is built here runs in a root of this machine's packages, so both need the same Python."""
    ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
    line = ["/usr/bin/python3", "-c", "import sys; print(*sys.version_info[:2], sep='.')"]
    try:
        said = subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()
    except OSError:
        said = "none"
    if said != ours:
        missing(f"needs Python {ours} as the system's own, which is {said}")


def require_root() -> None:
    """Network namespaces and other users' ids are root's."""
    if os.name != "posix" or os.geteuid() != 0:
        missing("needs root")
