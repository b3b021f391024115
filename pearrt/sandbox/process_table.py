"""What /proc says of one process (proc(5)). A shell of the sandbox room."""

from __future__ import annotations

import os
import signal


def state(pid: int) -> str:
    """Its state in one letter: T is stopped, Z has ended; "" where there is none."""
    found = _fields(pid)
    return found[0] if found else ""


def has_job_control() -> bool:
    """Whether somebody lets this process's job go on once it is stopped: a process of another group in its
    session started it (else the group is orphaned, setpgid(2)), and did not have it ignore stops."""
    if signal.getsignal(signal.SIGTSTP) == signal.SIG_IGN:
        return False
    group, pid = os.getpgrp(), os.getppid()
    try:
        while pid and os.getpgid(pid) == group:
            pid = int(_fields(pid)[1])
        return pid > 0 and os.getsid(pid) == os.getsid(0)
    except (OSError, IndexError):
        return False


def _fields(pid: int) -> list[str]:
    """State, parent and what follows; the name before them may hold anything."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read(1024).rpartition(b")")[2].decode().split()
    except OSError:
        return []
