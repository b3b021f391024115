"""A cgroup of the app's own: total memory, processes and processors, bounded by the kernel. A shell of the
sandbox room.

Used where this process may make one: version 2, with the memory and pids controllers handed down to the
parent of its own group, and both writable (root, or a group delegated to the person by systemd). No daemon is
asked for one. The app is moved in while it waits for the launcher's go, so everything it ever starts is
inside. Source: Linux `Documentation/admin-guide/cgroup-v2.rst`, "Delegation" and "No Internal Process
Constraint".
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from pearrt.sandbox.policy import Permissions

MOUNT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
NAME = "pearrt-app-"
NEEDED = frozenset({"memory", "pids"})
PERIOD_US = 100_000


class Group:
    """One group; `close` removes it once it is empty, and what earlier ones left behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def make(cls, permissions: Permissions, *, mount: Path = MOUNT, own: Path = OWN) -> Group | None:
        """A new group with these bounds, or None where that is not possible."""
        parent = _parent(mount, own)
        if parent is None:
            return None
        sweep(parent)
        group = cls(parent / f"{NAME}{os.getpid()}")
        try:
            group.folder.mkdir()
            group._bound(permissions)
        except OSError:
            group.close()
            return None
        return group

    def _bound(self, permissions: Permissions) -> None:
        quota = permissions.processors * PERIOD_US
        bounds = {
            "memory.max": f"{permissions.memory_bytes}",
            "memory.swap.max": "0",
            "memory.oom.group": "1",
            "pids.max": f"{permissions.processes}",
            "cpu.max": f"{quota} {PERIOD_US}",
        }
        for name, value in bounds.items():
            if name in ("memory.max", "pids.max") or (self.folder / name).exists():
                (self.folder / name).write_text(value)

    def add(self, pid: int) -> bool:
        """Moves one process in; what it starts from now on is born inside."""
        try:
            (self.folder / "cgroup.procs").write_text(f"{pid}")
        except OSError:
            return False
        return True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def sweep(parent: Path) -> None:
    """Removes the empty groups of launchers that are gone; a group with processes cannot be removed."""
    for folder in parent.glob(f"{NAME}*"):
        if not Path(f"/proc/{folder.name.removeprefix(NAME)}").exists():
            Group(folder).close()


def _parent(mount: Path, own: Path) -> Path | None:
    """Where siblings of this process's group are made, if it may."""
    try:
        lines = own.read_text().splitlines()
        path = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
        parent = (mount / path).parent if path else mount
        handed_down = set((parent / "cgroup.subtree_control").read_text().split())
    except (OSError, StopIteration):
        return None
    writable = os.access(parent, os.W_OK) and os.access(parent / "cgroup.procs", os.W_OK)
    return parent if writable and handed_down >= NEEDED else None
