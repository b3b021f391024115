"""One UDP socket and the node behind it: the part of the shell that touches the network.

Datagrams that cannot be sent are lost, as UDP may lose any; the requests behind them time out.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
from collections.abc import Callable
from typing import cast

from pearrt.dht.contact import Address
from pearrt.dht.node import DhtNode
from pearrt.dht.operations import Operation
from pearrt.link import HostPort

log = logging.getLogger(__name__)

RESOLVE_TIMEOUT_S = 10.0
_RECEIVE_BUFFER_BYTES = 1 << 20


class NodeSocket(asyncio.DatagramProtocol):
    """Feeds a node with datagrams and time; calls `changed` for each operation that has news."""

    def __init__(self, node: DhtNode, changed: Callable[[Operation], None]) -> None:
        self.node = node
        self.address: Address = ("", 0)
        self.sibling: NodeSocket | None = (
            None  # the other family's: what one node hears the other may ask about
        )
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def open(
        cls,
        node: DhtNode,
        bind: Address,
        changed: Callable[[Operation], None],
        inherited: socket.socket | None = None,
    ) -> NodeSocket:
        """Binds a socket for `node`, or takes over the `inherited` one. Raises OSError."""
        loop = asyncio.get_running_loop()
        if inherited is not None or ":" in bind[0]:
            sock = inherited or _v6_socket(bind)
            _, opened = await loop.create_datagram_endpoint(lambda: cls(node, changed), sock=sock)
        else:
            _, opened = await loop.create_datagram_endpoint(lambda: cls(node, changed), local_addr=bind)
        return opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # Python 3.11's own is no subclass
        host, port = transport.get_extra_info("sockname")[:2]
        self.address = (host, port)
        if (sock := transport.get_extra_info("socket")) is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.node.receive(data, addr[:2], self._loop.time())
        self.flush()
        if self.sibling is not None:
            self.sibling.flush()

    def error_received(self, exc: Exception) -> None:
        """An unreachable network or a full queue."""
        log.debug("udp: %s", exc)

    def flush(self) -> None:
        """Sends what the node has to send, passes its news on, sets the timer. To be called after each use of
        the node.
        """
        transport = self._transport
        if transport is None:
            return
        for data, address in self.node.take_datagrams():
            transport.sendto(data, address)
        for operation in self.node.take_changed():
            self._changed(operation)
        due = self.node.next_timer()
        if self._timer is None or self._timer.when() > due:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.node.handle_timer(self._loop.time())
        self.flush()

    def duplicate(self) -> socket.socket | None:
        """A second descriptor of the socket, for a process that is to go on with it."""
        sock = self._transport.get_extra_info("socket") if self._transport is not None else None
        return None if sock is None else socket.socket(fileno=os.dup(sock.fileno()))

    def close(self) -> None:
        """Closes the socket and stops the timer; the node is left as it is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.close()
            self._transport = None


def _v6_socket(bind: Address) -> socket.socket:
    """An IPv6-only socket, so that an IPv4 one can have the same port."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(bind)
    except BaseException:
        sock.close()
        raise
    return sock


async def resolve(host: HostPort) -> list[Address]:
    """The addresses of a bootstrap host; none if it cannot be resolved now."""
    try:
        return [(str(ipaddress.ip_address(host.host)), host.port)]
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            found = await loop.getaddrinfo(host.host, host.port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError, TimeoutError) as e:
        log.info("cannot resolve the bootstrap host %s: %s", host, e)
        return []
    return [(str(entry[4][0]), int(entry[4][1])) for entry in found]
