"""A hostile app, small enough to go with every pearrt: `pearrt doctor` starts it in the real sandbox.

It tries what an app must not be able to do, against targets that the doctor put there for it, and prints one
line per attempt: a name and `refused`, or `open`. Standard library only.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_NEW_USER_NAMESPACE, _PTRACE_SEIZE, _TYPE_INTO_TERMINAL = 0x10000000, 0x4206, 0x5412
_KEYCTL = 250 if os.uname().machine == "x86_64" else 219
_HOMES = ("/Users",) if sys.platform == "darwin" else ("/home", "/root")
_GRACE_S, _OPEN = 5, 42


def _call(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result


def _connect(family: int, address: Any) -> object:
    with socket.socket(family, socket.SOCK_STREAM) as stream:
        stream.settimeout(2)
        stream.connect(address)
        return True


def _find_in_environments(token: str) -> object:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if token.encode() in file.read():
                    return True
        except OSError:
            continue
    raise PermissionError


def _read_descriptors(token: str) -> object:
    for fd in range(3, 64):
        try:
            if token.encode() in os.pread(fd, 4096, 0):
                return True
        except OSError:
            continue
    raise PermissionError


def _type_into_terminal() -> object:
    _, terminal = os.openpty()
    return fcntl.ioctl(terminal, _TYPE_INTO_TERMINAL, b"x")


def _write(path: str) -> object:
    with open(path, "x"):
        return True


def _send_from_a_pair(path: str) -> object:
    ours, _theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return ours.sendto(b"x", path)


def attempts(t: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """Name -> what to try against the doctor's targets; what does not raise got through."""
    found: dict[str, Callable[[], object]] = {
        "read a file of the person's": lambda: open(t["secret"]).close(),
        "read a secret of the environment": lambda: _find_in_environments(t["token"]),
        "read a descriptor left open": lambda: _read_descriptors(t["token"]),
        "list the home folders": lambda: [os.listdir(path) for path in _HOMES],
        "write into the release": lambda: _write(f"{t['app']}/planted"),
        "write into the root": lambda: _write("/planted"),
        "signal the launcher": lambda: os.kill(t["launcher"], 0),
        "trace the launcher": lambda: _call(_libc.ptrace(_PTRACE_SEIZE, t["launcher"], None, None)),
        "connect by TCP": lambda: _connect(socket.AF_INET, ("127.0.0.1", t["port"])),
        "connect to a socket of the machine": lambda: _connect(socket.AF_UNIX, t["socket"]),
        "send from a datagram pair": lambda: _send_from_a_pair(t["socket"]),
        "become root": lambda: os.setuid(0),
    }
    if sys.platform == "linux":
        found |= {
            "signal the person's job": lambda: os.kill(0, 0),
            "connect to an abstract socket": lambda: _connect(socket.AF_UNIX, "\0" + t["token"]),
            "type into the terminal": _type_into_terminal,
            "make a user namespace": lambda: _call(_libc.unshare(_NEW_USER_NAMESPACE)),
            "mount a file system": lambda: _call(_libc.mount(b"x", b"/data", b"tmpfs", 0, None)),
            "load a kernel key": lambda: _call(_libc.syscall(_KEYCTL, 0, -3, 0, 0, 0)),
        }
    return found


def main() -> int:
    """Each attempt in a process of its own."""
    for name, attempt in attempts(json.loads(sys.argv[1])).items():
        pid = os.fork()
        if pid == 0:
            signal.alarm(_GRACE_S)
            try:
                attempt()
            except Exception:
                os._exit(0)
            os._exit(_OPEN)
        opened = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == _OPEN
        print(f"{'open' if opened else 'refused'} {name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
