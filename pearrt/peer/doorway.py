"""`Doorway`: what every inbound connection meets first. Its first byte decides.

A peer begins with 0x13 and gets a PeerLink. `GET ` and `HEAD ` belong to the read-only HTTP view: the
connection stays here and is passed on byte for byte to a protocol of `http_factory`, so that it is counted
and its request heads must come, and what is sent to it be taken, in time. Anything else, or nothing within
the handshake time, is closed without an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pearrt.peer.admission import Admission
from pearrt.peer.limits import PeerLimits
from pearrt.peer.link import PeerLink

HTTP_METHODS = (b"GET ", b"HEAD ")
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
HEAD_END = b"\r\n\r\n"


class Doorway(asyncio.Protocol):
    """One inbound connection until it is known what it is, and for good if it is HTTP."""

    def __init__(
        self,
        admission: Admission,
        limits: PeerLimits,
        *,
        make_link: Callable[[Doorway], PeerLink | None],
        http_factory: Callable[[], asyncio.BaseProtocol] | None,
        on_end: Callable[[Doorway], None],
    ) -> None:
        self.host = ""
        self.link: PeerLink | None = None  # what this has become
        self._admission = admission
        self._limits = limits
        self._make_link = make_link
        self._http_factory = http_factory
        self._on_end = on_end
        self._transport: asyncio.Transport | None = None
        self._http: asyncio.Protocol | None = None
        self._first = b""
        self._tail = b""
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._admitted = False
        self._http_admitted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peername = transport.get_extra_info("peername")
        self.host = peername[0] if peername else "0.0.0.0"  # gone already; nothing will be read  # noqa: S104
        self._admitted = self._admission.admit(self.host, asyncio.get_running_loop().time())
        if not self._admitted:
            transport.abort()
            return
        self._arm(self._limits.handshake_timeout_s)

    def _arm(self, seconds: float) -> None:
        assert self._transport is not None
        self._disarm()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._transport.abort)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def data_received(self, data: bytes) -> None:
        if self._http is not None:
            self._watch_head(data)
            self._http.data_received(data)
            return
        assert self._transport is not None
        self._first += data
        if not self._admitted or self._transport.is_closing():
            return
        if any(self._first.startswith(method) for method in HTTP_METHODS):
            self._become_http()
        elif not any(method.startswith(self._first) for method in HTTP_METHODS):
            self._become_peer()

    def _become_peer(self) -> None:
        assert self._transport is not None
        self._disarm()
        link = self._make_link(self)
        if link is None:
            self._transport.abort()
            return
        self._transport.set_protocol(link)
        link.connection_made(self._transport)
        first, self._first = self._first, b""
        link.feed(first)

    def _become_http(self) -> None:
        assert self._transport is not None
        if self._http_factory is None:
            self._transport.write(NOT_FOUND)
            self._transport.close()
            return
        self._http_admitted = self._admission.admit_http(self.host)
        if not self._http_admitted:
            self._transport.abort()
            return
        http = self._http_factory()
        assert isinstance(http, asyncio.Protocol)
        self._http = http
        http.connection_made(self._transport)
        first, self._first = self._first, b""
        self._arm(self._limits.http_head_timeout_s)
        self._watch_head(first)
        http.data_received(first)

    def _watch_head(self, data: bytes) -> None:
        """A request head that has begun must end in time; GET and HEAD have no body that could follow."""
        if self._timer is None:
            self._arm(self._limits.http_head_timeout_s)
        stretch = self._tail + data
        self._tail = stretch[-(len(HEAD_END) - 1) :]
        if stretch.endswith(HEAD_END):
            self._disarm()

    def pause_writing(self) -> None:
        if self._http is not None and self._transport is not None:
            loop = asyncio.get_running_loop()
            self._stalled = loop.call_later(self._limits.http_stall_timeout_s, self._transport.abort)
            self._http.pause_writing()

    def resume_writing(self) -> None:
        if self._http is not None:
            self._end_stall()
            self._http.resume_writing()

    def _end_stall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def eof_received(self) -> bool | None:
        return self._http.eof_received() if self._http is not None else False

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._end_stall()
        if self._http is not None:
            self._http.connection_lost(exc)
        self.release()

    def release(self) -> None:
        """The connection has ended, here or as a PeerLink: gives its place back."""
        if self._admitted:
            self._admitted = False
            self._admission.release(self.host)
        if self._http_admitted:
            self._http_admitted = False
            self._admission.release(self.host, http=True)
        self._on_end(self)

    @property
    def is_http(self) -> bool:
        """Whether this has turned out to be an HTTP connection."""
        return self._http is not None

    def abort(self) -> None:
        """Drops the connection."""
        if self._transport is not None:
            self._transport.abort()
