"""Processes that outlive the tests that started them.

A test's processes carry the guard's log path in their environment, which is unique to the session, so that
they are found however they detached. What runs inside a sandbox has another environment and is not seen.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path


def processes_with(marker: str) -> dict[int, str]:
    """Process id -> command line of every other process whose environment contains `marker`."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(folder.name) != os.getpid() and os.fsencode(marker) in (folder / "environ").read_bytes():
                command = (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                )
                if command:  # else it has ended and waits for its parent
                    found[int(folder.name)] = command
    return found


def end_leftovers(marker: str, patience_s: float = 3.0) -> list[str]:
    """The command lines of processes that did not end within `patience_s`; they are killed."""
    deadline = time.monotonic() + patience_s
    while (left := processes_with(marker)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return list(left.values())
