"""Whose process is at the other end of a connection on loopback. A shell of the web room.

A port has no owner: every user of the machine can connect to it, and can see the address that a browser was
started with. Linux says of each of its sockets whose it is: the other end of ours is one of them. Elsewhere
nothing can be asked, and the token and the cookie stand alone. Source: Linux `proc_pid_net(5)`, `tcp`.
"""

from __future__ import annotations

import os
import socket
import sys

_TABLES = {socket.AF_INET: "/proc/net/tcp", socket.AF_INET6: "/proc/net/tcp6"}


def is_ours(
    visitor: tuple[str, int], server: tuple[str, int], *, tables: dict[int, str] | None = None
) -> bool:
    """Whether the socket at `visitor` that is connected to `server` belongs to this user or to root."""
    if sys.platform != "linux":
        return True
    return uid_of(visitor, server, tables=tables) in (os.geteuid(), 0)


def uid_of(
    visitor: tuple[str, int], server: tuple[str, int], *, tables: dict[int, str] | None = None
) -> int | None:
    """The owner of the connected socket whose own address is `visitor`; None where there is none."""
    family = socket.AF_INET6 if ":" in visitor[0] else socket.AF_INET
    wanted = [_spelled(family, *visitor), _spelled(family, *server)]
    try:
        with open((tables or _TABLES)[family], encoding="ascii") as lines:
            for line in lines:
                fields = line.split()
                if fields[1:3] == wanted:
                    return int(fields[7])
    except (OSError, ValueError, IndexError):
        pass
    return None


def _spelled(family: int, host: str, port: int) -> str:
    """An address as the kernel prints it: 32-bit words in the machine's order, in hexadecimal."""
    packed = socket.inet_pton(family, host)
    words = [packed[at : at + 4] for at in range(0, len(packed), 4)]
    if sys.byteorder == "little":
        words = [word[::-1] for word in words]
    return f"{b''.join(words).hex().upper()}:{port:04X}"
