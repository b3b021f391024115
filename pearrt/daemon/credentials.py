"""Who is at the other end of a Unix socket, by the kernel's word (Linux: SO_PEERCRED, unix(7))."""

from __future__ import annotations

import socket
import struct

_UCRED = struct.Struct("3i")


def peer_credentials(connection: socket.socket) -> tuple[int, int, int]:
    """Process, user and group of the other end, as they were when it connected or began to listen."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(data)
    return pid, uid, gid
