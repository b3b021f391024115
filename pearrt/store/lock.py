"""One writing process per store, held by the kernel: a killed process frees it at once."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from pearrt.errors import Locked


class ProcessLock:
    """An exclusive lock on a file that names its holder. OSError where the file system has no locks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = -1

    def acquire(self) -> None:
        """Raises Locked, saying by whom, when another process (or another Store here) holds it."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            _lock(fd)
        except (BlockingIOError, PermissionError) as e:
            holder = _holder(fd)
            os.close(fd)
            raise Locked(
                f"{self.path.parent} is in use by {holder or 'another process'}.",
                hint="Stop that process, or let it do the work: the daemon takes requests.",
            ) from e
        except BaseException:
            os.close(fd)
            raise
        self._sign(fd)
        self.fd = fd

    def adopt(self, fd: int) -> None:
        """Takes over a lock whose descriptor another process passed on. The kernel holds it for both until
        both have let go."""
        self._sign(fd)
        self.fd = fd

    def disown(self) -> None:
        """Lets go of a lock that was passed on: it is the other process's now."""
        os.close(self.fd)
        self.fd = -1

    def _sign(self, fd: int) -> None:
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, f"process {os.getpid()} ({_purpose()})\n".encode())

    def release(self) -> None:
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self.fd, 0)
            os.close(self.fd)
            self.fd = -1


def _holder(fd: int) -> str:
    os.lseek(fd, 0, os.SEEK_SET)
    return os.read(fd, 200).decode("utf-8", "replace").strip()


def _purpose() -> str:
    return ascii(" ".join([os.path.basename(sys.argv[0] or "python"), *sys.argv[1:3]]))[1:-1][:120]


if sys.platform == "win32":
    import msvcrt

    # The byte that is locked: what is locked cannot be read, and the holder's name is to be.
    FAR_AWAY = 1 << 30

    def _lock(fd: int) -> None:
        os.lseek(fd, FAR_AWAY, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
