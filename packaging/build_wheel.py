"""The wheel and the sdist, by the hatchling that the lock names: the same commit gives the same bytes.

hatchling sorts, fixes modes and takes every time from SOURCE_DATE_EPOCH; the lock fixes hatchling.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from source import LOCK, Source

from pearrt.publish.runtime_lock import BUILD, RuntimeLock
from pearrt.publish.runtime_tree import unpack_wheel
from pearrt.publish.runtime_wheels import fetch_wheels

_RUN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from hatchling.cli import hatchling; hatchling()"


def build_wheel_and_sdist(source: Source, wheels: Path, scratch: Path, out: Path) -> tuple[Path, Path]:
    """Both, in `out`. `wheels` is where the locked tools lie or are fetched to. Raises PearrtError for the
    tools, CalledProcessError."""
    tools = scratch / "hatchling"
    lock = RuntimeLock.parse((source.folder / LOCK).read_text("utf-8"))
    if not tools.exists():
        fetch_wheels(lock, BUILD, wheels)
        for wheel in lock.wheels_of(BUILD):
            list(unpack_wheel(wheel, wheels, tools))
    for target in ("wheel", "sdist"):
        subprocess.run(
            [sys.executable, "-I", "-B", "-c", _RUN, str(tools), "build", "-t", target, "-d", str(out)],
            cwd=source.folder,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": str(source.epoch)},
            check=True,
            capture_output=True,
        )
    return next(out.glob("pearrt-*.whl")), next(out.glob("pearrt-*.tar.gz"))
