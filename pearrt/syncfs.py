"""Durability in bulk: one call that waits until everything written to a file system is on the disk.

`fsync` per file costs a journal commit each; `syncfs(2)` commits once for thousands of files and, since Linux
5.8, reports write errors. Where it does not exist the caller falls back to `fsync` of its own files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path


def sync_filesystem(folder: Path) -> bool:
    """Waits until all that was written to the file system of `folder` is durable.

    Returns False where the platform has no such call, so that the caller syncs file by file. Raises OSError
    where the disk refused.
    """
    call = _syncfs()
    if call is None:
        return False
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        call(fd)
    finally:
        os.close(fd)
    return True


@cache
def _syncfs() -> Callable[[int], None] | None:
    if sys.platform != "linux":
        return None
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syncfs"):
        return None

    def syncfs(fd: int) -> None:
        if libc.syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return syncfs
