"""Connections to the hosts that the permission `net.hosts` names, and to no others.

The daemon resolves the name, judges the address and connects; the app gets a connected stream socket and
speaks on it what it likes: `ssl.create_default_context(cafile=…).wrap_socket(sock, server_hostname=host)`
(the sandbox has no certificates of the machine's, so bring them: the package certifi, say). When the person
revokes the permission, the socket is closed.
"""

from __future__ import annotations

import socket

from pearrt.sdk.channel import channel


def connect(host: str, port: int, *, timeout_s: float | None = 60.0) -> socket.socket:
    """A stream to `host:port`. Raises Denied where that is not permitted, sdk.Error where nobody answers."""
    return channel().call("net.open", timeout_s=timeout_s, host=host, port=port).socket()
