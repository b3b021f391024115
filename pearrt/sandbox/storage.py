"""How much an app keeps in `/data`. A shell of the sandbox room.

No file system quota can be counted on, so the launcher measures while the app runs and stops it when it is
over. The folder is the app's, so what is found in it may be hostile: links are not followed, the walk is
bounded, and what cannot be measured (a path too long, too many files) counts as too much.

An app that is over it already when it starts, as the last run was stopped for that, runs so that it can tidy
up: it is stopped once it keeps more than it did then.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from pathlib import Path

from pearrt.errors import Denied
from pearrt.sandbox.policy import format_size

MAX_ENTRIES = 1_000_000
UNMEASURABLE = 1 << 62
CLUSTER_BYTES = 4096  # of NTFS, usually
FIRST_CHECK_S = 1.0
SHARE_OF_TIME = 0.02  # of the launcher's time that measuring may take


def used_bytes(folder: Path, *, max_entries: int = MAX_ENTRIES) -> int:
    """Bytes on disk below `folder`; UNMEASURABLE where that is more than can be counted."""
    total, entries, waiting = 0, 0, [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    entries += 1
                    if entries > max_entries:
                        return UNMEASURABLE
                    try:
                        status = os.lstat(entry.path)  # not the entry's own: Windows keeps that for later
                    except FileNotFoundError:
                        continue
                    total += _on_disk(status)
                    if stat.S_ISDIR(status.st_mode) and not _leads_elsewhere(status):
                        waiting.append(entry.path)
        except OSError as e:
            if e.errno not in (errno.ENOENT, errno.ENOTDIR):  # those are gone since they were seen
                return UNMEASURABLE
    return total


def _on_disk(status: os.stat_result) -> int:
    """Bytes; where the system does not count blocks, what they are at most in whole clusters."""
    if sys.platform == "win32":
        return -(-status.st_size // CLUSTER_BYTES) * CLUSTER_BYTES
    return status.st_blocks * 512


def _leads_elsewhere(status: os.stat_result) -> bool:
    """Whether it is one of Windows' folders that are others in truth (junctions, mount points)."""
    return bool(getattr(status, "st_file_attributes", 0) & stat.FILE_ATTRIBUTE_REPARSE_POINT)


class Meter:
    """Says when to measure next, and whether the last measurement was too much. Times are
    `time.monotonic()`.
    """

    def __init__(self, folder: Path, limit_bytes: int, now: float) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self.next_check = now  # at once: what is there before the app begins
        self._bound_bytes = 0

    def refusal(self) -> Denied:
        """What the person is told when it was too much."""
        return Denied(
            f"The app was stopped: it keeps more than {format_size(self.limit_bytes)}.",
            hint="Started again, it can tidy up. `pearrt uninstall` removes it with all that it keeps. "
            "Its publisher can ask for more with the permission `storage`.",
        )

    def over(self) -> bool:
        """Measures when it is time to. The more there is to measure, the less often."""
        began = time.monotonic()
        if began < self.next_check:
            return False
        used = used_bytes(self.folder)
        ended = time.monotonic()
        self.next_check = ended + max(FIRST_CHECK_S, (ended - began) / SHARE_OF_TIME)
        if not self._bound_bytes:
            self._bound_bytes = max(self.limit_bytes, used if used < UNMEASURABLE else 0)
        return used > self._bound_bytes
