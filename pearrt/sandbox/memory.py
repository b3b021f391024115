"""How much memory an app takes in total, measured while it runs. A shell of the sandbox room.

For machines where no cgroup can be made: limits per process do not add up to a limit on all of them. The
launcher looks at the app's processes and stops the app when they take more than it was granted together. What
several of them share is counted once. Memory is taken faster than it can be measured: between two looks an
app can take more, until the limit of each of its processes; files in its memory file systems count by those
file systems' own sizes.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from pearrt.errors import Denied
from pearrt.sandbox.policy import format_size

LEAST_PAUSE_S, MOST_PAUSE_S = 0.05, 1.0
SHARE_OF_TIME = 0.05  # of the launcher's time that measuring may take
FASTEST_BYTES_PER_S = 4 << 30  # what an app may fill, for when to look again
MAX_PROCESSES = 8192
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_COUNTED = ("Pss_Anon:", "Pss_Shmem:")


def family(first: int, proc: Path = Path("/proc")) -> list[int]:
    """The process and all that descend from it, from one pass over the machine's processes."""
    children: dict[int, list[int]] = {}
    for name in os.listdir(proc):
        if name.isdigit():
            try:
                with open(proc / name / "stat", "rb") as file:
                    parent = int(file.read(1024).rpartition(b")")[2].split()[1])  # the name may hold anything
            except (OSError, ValueError, IndexError):
                continue  # gone
            children.setdefault(parent, []).append(int(name))
    found = [first]
    for pid in found:
        found += children.get(pid, [])
        if len(found) > MAX_PROCESSES:
            break
    return found


def at_most_bytes(pids: list[int], proc: Path = Path("/proc")) -> int:
    """What they take at most: pages that several of them share are counted for each."""
    total = 0
    for pid in pids:
        try:
            with open(proc / f"{pid}" / "statm", "rb") as file:
                total += int(file.read(256).split()[1])
        except (OSError, ValueError, IndexError):
            continue
    return total * _PAGE_BYTES


def taken_bytes(pids: list[int], proc: Path = Path("/proc")) -> int:
    """What they take, shared pages by their share; files of the disk do not count. Slower."""
    total = 0
    for pid in pids:
        try:
            with open(proc / f"{pid}" / "smaps_rollup", encoding="ascii") as lines:
                total += sum(int(line.split()[1]) for line in lines if line.startswith(_COUNTED)) << 10
        except (FileNotFoundError, ProcessLookupError):
            continue
        except (OSError, ValueError, IndexError):
            total += at_most_bytes([pid], proc)
    return total


class MemoryMeter:
    """Says when to look next, and whether the last look found too much. Times are `time.monotonic()`."""

    def __init__(self, first: int, limit_bytes: int, now: float) -> None:
        self.first = first
        self.limit_bytes = limit_bytes
        self.next_check = now + LEAST_PAUSE_S

    def over(self) -> bool:
        """Looks when it is time to. The less room is left, the sooner the next look."""
        began = time.monotonic()
        if began < self.next_check:
            return False
        pids = family(self.first)
        used = at_most_bytes(pids)
        if used > self.limit_bytes:
            used = taken_bytes(pids)
        ended = time.monotonic()
        room_s = max(0, self.limit_bytes - used) / FASTEST_BYTES_PER_S
        pause_s = max(LEAST_PAUSE_S, room_s, (ended - began) / SHARE_OF_TIME)
        self.next_check = ended + min(MOST_PAUSE_S, pause_s)
        return used > self.limit_bytes

    def refusal(self) -> Denied:
        """What the person is told when it was too much."""
        return Denied(
            f"The app was stopped: it takes more than {format_size(self.limit_bytes)} of memory in total.",
            hint="Its publisher can ask for more with the permission `memory`.",
        )
