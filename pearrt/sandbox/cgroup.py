"""A cgroup of the app's own: total memory, processes and processors, bounded by the kernel. A shell of the
sandbox room.

Used where this process may make one; no daemon is asked for it. The app is moved in while it waits for the
launcher's go, so everything it ever starts is inside.

    version 2   beside this process's own group, where memory and pids are handed down to their parent and
                both are writable (root, or a group that systemd delegated to the person)
    version 1   below this process's own groups of the memory and pids hierarchies, where both are writable

Source: Linux `Documentation/admin-guide/cgroup-v2.rst`, "Delegation" and "No Internal Process Constraint";
`cgroup-v1/{memory,pids}.rst`, `Documentation/scheduler/sched-bwc.rst`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pearrt.sandbox.policy import Permissions

MOUNT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
NAME = "pearrt-app-"
NEEDED = frozenset({"memory", "pids"})
V1_CONTROLLERS = ("memory", "pids", "cpu")
PERIOD_US = 100_000
CLOSE_ATTEMPTS, CLOSE_PAUSE_S = 25, 0.01
_MUST_HOLD_V2 = frozenset({"memory.max", "pids.max"})
_MUST_HOLD_V1 = {"memory": frozenset({"memory.limit_in_bytes"}), "pids": frozenset({"pids.max"})}


class Group:
    """One group, in one hierarchy or in several; `close` removes it once it is empty."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders

    @classmethod
    def make(cls, permissions: Permissions, *, mount: Path = MOUNT, own: Path = OWN) -> Group | None:
        """A new group with these bounds, or None where that is not possible."""
        parents = _parents(mount, own)
        for parent in parents:
            sweep(parent)
        group = cls([parent / f"{NAME}{os.getpid()}" for parent in parents])
        try:
            for folder, must_hold in zip(group.folders, parents.values(), strict=True):
                folder.mkdir()
                _bound(folder, _bounds(permissions), must_hold)
        except OSError:
            group.close()
            return None
        return group if parents else None

    def add(self, pid: int) -> bool:
        """Moves one process in; what it starts from now on is born inside."""
        try:
            for folder in self.folders:
                (folder / "cgroup.procs").write_text(f"{pid}")
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Removes it. Processes that were killed a moment ago may still be in it; others keep it for
        `sweep`."""
        for folder in self.folders:
            for _ in range(CLOSE_ATTEMPTS):
                try:
                    folder.rmdir()
                except OSError as e:
                    if e.errno != errno.EBUSY:
                        break
                    time.sleep(CLOSE_PAUSE_S)


def sweep(parent: Path) -> None:
    """Removes the empty groups of launchers that are gone; a group with processes cannot be removed."""
    for folder in parent.glob(f"{NAME}*"):
        if not Path(f"/proc/{folder.name.removeprefix(NAME)}").exists():
            with contextlib.suppress(OSError):
                folder.rmdir()


def _bounds(permissions: Permissions) -> Mapping[str, str]:
    """What to write into which file, of both versions; a hierarchy has only its own."""
    memory, quota = f"{permissions.memory_bytes}", permissions.processors * PERIOD_US
    return {
        "memory.max": memory,
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "memory.limit_in_bytes": memory,
        "memory.memsw.limit_in_bytes": memory,
        "pids.max": f"{permissions.processes}",
        "cpu.max": f"{quota} {PERIOD_US}",
        "cpu.cfs_period_us": f"{PERIOD_US}",
        "cpu.cfs_quota_us": f"{quota}",
    }


def _bound(folder: Path, bounds: Mapping[str, str], must_hold: frozenset[str]) -> None:
    """Raises OSError where a bound that the tier stands for does not hold."""
    for name, value in bounds.items():
        if name in must_hold:
            (folder / name).write_text(value)
        elif (folder / name).exists():
            with contextlib.suppress(OSError):
                (folder / name).write_text(value)


def _parents(mount: Path, own: Path) -> dict[Path, frozenset[str]]:
    """Where groups are made, one per hierarchy, and what must hold there; none where that is not possible."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return {}
    paths = {name: path for _, names, path in lines for name in names.split(",")}
    if parent := _parent_v2(mount, paths.get("")):
        return {parent: _MUST_HOLD_V2}
    places = {name: mount / name / paths[name].lstrip("/") for name in V1_CONTROLLERS if name in paths}
    usable = {name: folder for name, folder in places.items() if _writable(folder)}
    if not usable.keys() >= NEEDED:
        return {}
    return {folder: _MUST_HOLD_V1.get(name, frozenset()) for name, folder in usable.items()}


def _parent_v2(mount: Path, path: str | None) -> Path | None:
    if path is None:
        return None
    parent = (mount / path.lstrip("/")).parent if path != "/" else mount
    try:
        handed_down = set((parent / "cgroup.subtree_control").read_text().split())
    except OSError:
        return None
    return parent if handed_down >= NEEDED and _writable(parent) else None


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)
