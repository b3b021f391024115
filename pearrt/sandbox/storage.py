"""How much an app keeps in `/data`. A shell of the sandbox room.

No file system quota can be counted on, so the launcher measures while the app runs and stops it when it is
over. The folder is the app's, so what is found in it may be hostile: links are not followed, the walk is
bounded, and what cannot be measured (a path too long, too many files) counts as too much.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from pearrt.errors import Denied
from pearrt.sandbox.policy import format_size

MAX_ENTRIES = 1_000_000
UNMEASURABLE = 1 << 62
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
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
                    except FileNotFoundError:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError as e:
            if e.errno not in (errno.ENOENT, errno.ENOTDIR):  # those are gone since they were seen
                return UNMEASURABLE
    return total


class Meter:
    """Says when to measure next, and whether the last measurement was too much. Times are
    `time.monotonic()`.
    """

    def __init__(self, folder: Path, limit_bytes: int, now: float) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self.next_check = now + FIRST_CHECK_S

    def refusal(self) -> Denied:
        """What the person is told when it was too much."""
        return Denied(
            f"The app was stopped: it keeps more than {format_size(self.limit_bytes)}.",
            hint="Its publisher can ask for more with the permission `storage`.",
        )

    def over(self) -> bool:
        """Measures when it is time to. The more there is to measure, the less often."""
        began = time.monotonic()
        if began < self.next_check:
            return False
        used = used_bytes(self.folder)
        ended = time.monotonic()
        self.next_check = ended + max(FIRST_CHECK_S, (ended - began) / SHARE_OF_TIME)
        return used > self.limit_bytes
