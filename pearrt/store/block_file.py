"""One block as a file: written new, read whole, never through a link."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from pearrt.atomic import store_error

MAX_BLOCK_BYTES = 256 * 1024

_OPEN = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)  # Windows would change line ends
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | _OPEN
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)  # preadv2(2), Linux: fail rather than wait for the disk
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN


def write_new(path: str, data: bytes | memoryview) -> int:
    """Writes a file that must not exist yet, private to the user; removes it on failure. Gives its stamp.

    Raises OSError.
    """
    fd = os.open(path, _CREATE, 0o600)
    try:
        try:
            if os.write(fd, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return _stamp(fd)
        finally:
            os.close(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def read(path: str) -> tuple[bytes, int]:
    """The file's bytes and stamp; of a file too long for a block just enough to see that. Raises OSError."""
    fd = os.open(path, _READ)
    try:
        stamp = _stamp(fd)
        return os.read(fd, MAX_BLOCK_BYTES + 1), stamp
    finally:
        os.close(fd)


def _stamp(fd: int) -> int:
    """A number that changes when the file is replaced or written to."""
    return _stamp_of(os.fstat(fd))


def _stamp_of(status: os.stat_result) -> int:
    return hash((status.st_ino, status.st_mtime_ns, status.st_size))


def read_cached(path: str, stamp: int, memory: Callable[[int], memoryview]) -> memoryview | None:
    """The file's bytes, in `memory(size)`, if it has this stamp and they are in the page cache; else None.

    Raises OSError.
    """
    if not _NOWAIT:
        return None
    fd = os.open(path, _READ)
    try:
        status = os.fstat(fd)
        if _stamp_of(status) != stamp or status.st_size > MAX_BLOCK_BYTES:
            return None
        data = memory(status.st_size)
        return data if os.preadv(fd, [data], 0, _NOWAIT) == len(data) else None
    finally:
        os.close(fd)


@contextlib.contextmanager
def store_errors(root: Path) -> Iterator[None]:
    """OSError as an error of the store at `root`: Full where the disk or quota is, StoreError else."""
    try:
        yield
    except OSError as e:
        raise store_error(e, f"Store {root}") from e
