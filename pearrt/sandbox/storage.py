"""How much an app keeps in `/data`. A shell of the sandbox room.

No file system quota can be counted on, so the launcher measures while the app runs and stops it when it is
over. The folder is the app's, so what is found in it may be hostile: links are not followed, the walk is
bounded, and what cannot be measured (a path too long, too many files) counts as too much.

An app that is over it already when it starts, as the last run was stopped for that, runs so that it can tidy
up: it is stopped once it keeps more than it did then. So it is measured once before it begins.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pearrt.errors import Denied
from pearrt.sandbox.policy import format_size

MAX_ENTRIES = 1_000_000
UNMEASURABLE = 1 << 62
CLUSTER_BYTES = 4096  # of NTFS, usually
FIRST_CHECK_S = 1.0
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # since it was seen
SHARE_OF_TIME = 0.02  # of the launcher's time that measuring may take


def used_bytes(folder: Path, *, max_entries: int = MAX_ENTRIES) -> int:
    """Bytes on disk below `folder`; UNMEASURABLE where that is more than can be counted."""
    total, entries = 0, 0
    waiting: list[tuple[str, os.stat_result | None]] = [(str(folder), None)]
    while waiting:
        path, seen = waiting.pop()
        try:
            with _listed(path, seen) as (found, fd):
                for entry in found:
                    entries += 1
                    if entries > max_entries:
                        return UNMEASURABLE
                    try:
                        status = _status(entry, fd)
                    except FileNotFoundError:
                        continue
                    total += _on_disk(status)
                    if stat.S_ISDIR(status.st_mode) and not _leads_elsewhere(status):
                        waiting.append((os.path.join(path, entry.name), status))
        except OSError as e:
            if e.errno not in _GONE:
                return UNMEASURABLE
    return total


@contextlib.contextmanager
def _listed(
    path: str, seen: os.stat_result | None
) -> Iterator[tuple[Iterator[os.DirEntry[str]], int | None]]:
    """The entries of the folder that was `seen` at `path`. Raises FileNotFoundError where another is there by
    now: an app that puts a link in its way would learn how much is in a folder of the person's."""
    if sys.platform == "win32":
        with os.scandir(path) as found:
            yield found, None
        return
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (os.O_NOFOLLOW if seen else 0))
    try:
        if seen is not None and not os.path.samestat(seen, os.fstat(fd)):
            raise FileNotFoundError(errno.ENOENT, "exchanged", path)
        with os.scandir(fd) as found:
            yield found, fd
    finally:
        os.close(fd)


def _status(entry: os.DirEntry[str], fd: int | None) -> os.stat_result:
    if fd is None:
        return os.lstat(entry.path)  # not the entry's own: Windows keeps that for later
    return os.stat(entry.name, dir_fd=fd, follow_symlinks=False)


def _on_disk(status: os.stat_result) -> int:
    """Bytes; where the system does not count blocks, what they are at most in whole clusters."""
    if sys.platform == "win32":
        return -(-status.st_size // CLUSTER_BYTES) * CLUSTER_BYTES
    return status.st_blocks * 512


def _leads_elsewhere(status: os.stat_result) -> bool:
    """Whether it is one of Windows' folders that are others in truth (junctions, mount points)."""
    return bool(getattr(status, "st_file_attributes", 0) & stat.FILE_ATTRIBUTE_REPARSE_POINT)


class Meter:
    """Says when to measure next, and whether the last measurement was too much. Made before the app begins.
    Times are `time.monotonic()`.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self.next_check = 0.0
        used = self._measured()
        self._bound_bytes = max(limit_bytes, used if used < UNMEASURABLE else 0)

    def refusal(self) -> Denied:
        """What the person is told when it was too much."""
        return Denied(
            f"The app was stopped: it keeps more than {format_size(self.limit_bytes)}.",
            hint="Started again, it can tidy up. `pearrt uninstall` removes it with all that it keeps. "
            "Its publisher can ask for more with the permission `storage`.",
        )

    def over(self) -> bool:
        """Measures when it is time to. The more there is to measure, the less often."""
        return time.monotonic() >= self.next_check and self._measured() > self._bound_bytes

    def _measured(self) -> int:
        began = time.monotonic()
        used = used_bytes(self.folder)
        ended = time.monotonic()
        self.next_check = ended + max(FIRST_CHECK_S, (ended - began) / SHARE_OF_TIME)
        return used
