"""How much memory an app takes in total, measured while it runs. A shell of the sandbox room.

For machines where no cgroup can be made: limits per process do not add up to a limit on all of them. The
launcher looks at the app's processes and stops the app when they take more than it was granted together. What
several of them share is counted once. What the kernel keeps for them in sockets and pipes cannot be seen
from outside: past FREE_DESCRIPTORS each counts as full. Memory is taken faster than it can be measured:
between two looks an app can take more, until the limit of each of its processes; files in its memory file
systems count by those file systems' own sizes.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from pearrt.errors import Denied
from pearrt.sandbox.policy import format_size

LEAST_PAUSE_S, MOST_PAUSE_S = 0.05, 1.0
SHARE_OF_TIME = 0.05  # of the launcher's time that measuring may take
FASTEST_BYTES_PER_S = 4 << 30  # what an app may fill, for when to look again
MAX_PROCESSES = 8192
FREE_DESCRIPTORS = 512  # more than programs have that mean well
PIPE_BYTES = 2 * 4096  # pipe(7): once their user has 64 MiB of them
SOCKET_BYTES = 2 * 212_992  # socket(7): net.core.wmem_max, doubled
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
    return sum(_pages(_alive(pid, proc)) for pid in pids) * _PAGE_BYTES


def _pages(process: Path) -> int:
    try:
        with open(process / "statm", "rb") as file:
            return int(file.read(256).split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _alive(pid: int, proc: Path) -> Path:
    """Where the memory of a process shows: once its first thread has ended, at another thread only."""
    process = proc / f"{pid}"
    if _pages(process):
        return process
    try:
        threads = [process / "task" / name for name in os.listdir(process / "task")]
    except OSError:
        return process
    return next((thread for thread in threads if _pages(thread)), process)


def kernel_bytes(pids: list[int], proc: Path = Path("/proc")) -> int:
    """What the kernel keeps for them at most, in sockets and pipes that they hold open. Where it is closed
    what a descriptor is, each could be a socket."""
    full, links, closed = {"socket": SOCKET_BYTES, "pipe": PIPE_BYTES}, set(), 0
    for pid in pids:
        folder = _alive(pid, proc) / "fd"
        try:
            names = os.listdir(folder)
        except PermissionError:
            with contextlib.suppress(OSError):
                closed += os.stat(folder).st_size  # how many: Linux 6.2 and later
            continue
        except OSError:
            continue  # gone
        for name in names:
            with contextlib.suppress(OSError):
                links.add(os.readlink(folder / name))
    sizes = [full.get(link.partition(":")[0], 0) for link in links] + [SOCKET_BYTES] * closed
    return sum(sorted(sizes)[:-FREE_DESCRIPTORS])


def taken_bytes(pids: list[int], proc: Path = Path("/proc")) -> int:
    """What they take, shared pages by their share; files of the disk do not count. Slower."""
    total = 0
    for pid in pids:
        try:
            with open(_alive(pid, proc) / "smaps_rollup", encoding="ascii") as lines:
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
        used, kept = at_most_bytes(pids), kernel_bytes(pids)
        if used + kept > self.limit_bytes:
            used = taken_bytes(pids)
        used += kept
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
