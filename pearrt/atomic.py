"""Files that are seen old or new, never mixed: written beside, synced, renamed over, directory synced."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from pearrt.errors import Full, StoreError

T = TypeVar("T")
_PAUSES_S = tuple(0.01 * 2**n for n in range(7))


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path`, durably and in one step, when the block ends well; else it
    is removed and `path` stays as it was.

    Raises Full when the disk is, StoreError for any other refusal of the operating system.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        try:
            with open(fd, "wb") as file:
                yield file
                file.flush()
                os.fsync(fd)
            _unhindered(lambda: os.replace(temporary, path))
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(path.parent)
    except OSError as e:
        raise store_error(e, f"Cannot write {path}") from e


def read_file(path: Path) -> bytes:
    """The bytes of a file that may be replaced at this moment. Raises OSError."""
    return _unhindered(path.read_bytes)


def _unhindered(step: Callable[[], T]) -> T:
    """Windows refuses to replace a file while it is read, and to read it while it is replaced: a moment later
    it does not."""
    for pause_s in _PAUSES_S if os.name == "nt" else ():
        try:
            return step()
        except PermissionError:
            time.sleep(pause_s)
    return step()


def store_error(error: OSError, what: str) -> StoreError:
    """`what` failed: Full where the disk or the quota is, StoreError else."""
    kind = Full if error.errno in (errno.ENOSPC, errno.EDQUOT) else StoreError
    return kind(f"{what}: {error.strerror}.")


def write_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replaces `path` by `data`, durably, in one step that a kill or power cut cannot split.

    Raises as `replacing` does.
    """
    with replacing(path, mode=mode) as file:
        file.write(data)


def sync_folder(folder: Path) -> None:
    """Makes the names in `folder` durable; does nothing where directories cannot be opened (Windows)."""
    if os.name != "posix":
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
