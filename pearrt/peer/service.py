"""`PeerService`: listens, dials, and keeps at most one link per peer.

Two peers that dial each other at the same moment keep the same one of the two connections: that of the
initiator with the smaller id. A dialler that meets a peer it is linked to already stops before it has shown
itself, and has the old link prove that it is alive. A connection from a peer that should be linked already,
and is not just dialling at the same moment, replaces the old link: that peer would not have come if its end
were still open.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType

from pearrt.crypto.noise import PSK_BYTES
from pearrt.errors import NetworkError, PearrtError, PeerTimeout, Unreachable
from pearrt.peer.bodies import Address
from pearrt.peer.connection import Connection
from pearrt.peer.handshake import Handshake, Identity
from pearrt.peer.limits import PeerLimits
from pearrt.peer.link import PeerLink
from pearrt.peer.listener import Listener
from pearrt.peer.messages import BYE_DUPLICATE, BYE_SHUTDOWN, Hello
from pearrt.peer.pool import BufferPool

log = logging.getLogger(__name__)

__all__ = ["PeerLink", "PeerService"]


class _AlreadyLinked(NetworkError):
    """Raised in mid-handshake by the dialler's own side."""

    def __init__(self, peer_id: bytes) -> None:
        super().__init__("There is a link to this peer already.")
        self.peer_id = peer_id


class PeerService:
    """An async context manager. `on_link`, which may be set later, is called for every link that opens.

    identity_seed: 32 bytes, the Ed25519 seed of the peer id. bind: one address or several (IPv4 and IPv6),
    all on one port; port 0 lets the system choose. psk: 32 bytes make this a private network. http_factory:
    makes the protocol for connections that speak HTTP; None answers 404. max_links: of both directions,
    over `limits`. any_port_if_taken: a port that another program has is replaced by one of the system's
    choice. inherited: listening sockets that another process passed on, in the place of `bind`.
    """

    def __init__(
        self,
        *,
        identity_seed: bytes,
        bind: Address | list[Address],
        agent: str,
        on_link: Callable[[PeerLink], None] | None = None,
        psk: bytes = b"",
        http_factory: Callable[[], asyncio.BaseProtocol] | None = None,
        max_links: int | None = None,
        any_port_if_taken: bool = False,
        limits: PeerLimits | None = None,
        inherited: Sequence[socket.socket] = (),
    ) -> None:
        self.on_link = on_link
        self._identity = Identity.create(identity_seed, os.urandom(32))
        if len(psk) not in {0, PSK_BYTES}:
            raise ValueError(f"a pre-shared key has {PSK_BYTES} bytes")
        Hello(agent).body()  # an agent that is too long is refused here, where the fault is
        self._agent = agent
        self._psk = psk
        self._limits = limits or PeerLimits()
        if max_links is not None:
            self._limits = replace(self._limits, max_connections=max_links)
        self._listener = Listener(
            bind if isinstance(bind, list) else [bind],
            self._limits,
            make_link=self._inbound,
            http_factory=http_factory,
            any_port_if_taken=any_port_if_taken,
            inherited=inherited,
        )
        self._pool = BufferPool()
        self._all: set[PeerLink] = set()  # in whatever state
        self._links: dict[bytes, PeerLink] = {}  # open ones, by peer id
        self._dials: dict[Address, asyncio.Future[PeerLink]] = {}
        # Own dials whose peer is known and that are not open yet, by peer id.
        self._dialled: dict[bytes, asyncio.Future[PeerLink]] = {}
        self._waiting: dict[PeerLink, asyncio.Future[PeerLink]] = {}
        self._closing = False

    @property
    def peer_id(self) -> bytes:
        """Our Ed25519 public key."""
        return self._identity.peer_id

    @property
    def addresses(self) -> list[Address]:
        """Where this service listens; empty if it listens nowhere."""
        return self._listener.addresses

    @property
    def address(self) -> Address:
        """The first of `addresses`."""
        return self.addresses[0]

    @property
    def links(self) -> list[PeerLink]:
        """The open links."""
        return [link for link in self._links.values() if not link.closed]

    def listening_sockets(self) -> list[socket.socket]:
        """Duplicates of the listening sockets, for a process that is to listen on."""
        return self._listener.sockets()

    async def take_over(self) -> None:
        """Accepts connections on inherited sockets: to be called once there is something to serve."""
        await self._listener.take_over()

    async def stop_listening(self) -> None:
        """Takes no new connections; open links and HTTP connections stay."""
        await self._listener.stop_listening()

    @property
    def open_doorways(self) -> int:
        """Connections that are no links: strangers, and those that speak HTTP."""
        return self._listener.open_doorways

    def link_to(self, peer_id: bytes) -> PeerLink | None:
        """The open link to this peer."""
        link = self._links.get(peer_id)
        return None if link is None or link.closed else link

    # -- life

    async def __aenter__(self) -> PeerService:
        await self._listener.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        await self._listener.stop_listening()  # who was accepted a moment ago is dropped, not forgotten
        self._listener.stop()
        for link in list(self._all):
            link.close("shutting down", code=BYE_SHUTDOWN)
        ends = [link.ended for link in self._all if link.has_transport]
        if ends:
            await asyncio.wait(ends, timeout=self._limits.close_timeout_s + 1)
        await asyncio.sleep(0)  # lets aborted transports tell their protocols

    def _inbound(self, release: Callable[[], None]) -> PeerLink | None:
        if self._closing or len(self._all) >= self._limits.max_connections:
            return None
        handshake = Handshake(self._identity, initiator=False, random_bytes=os.urandom, psk=self._psk)
        return self._link(handshake, release)

    def _link(self, handshake: Handshake, release: Callable[[], None]) -> PeerLink:
        def ended(link: PeerLink) -> None:
            release()
            self._ended(link)

        addresses = self.addresses
        hello = Hello(self._agent, addresses[0][1] if addresses else 0)
        now = asyncio.get_running_loop().time()
        connection = Connection(handshake, hello, self._limits, now, self._pool)
        link = PeerLink(connection, self._limits, on_open=self._opened, on_end=ended)
        self._all.add(link)
        return link

    # -- dialling

    async def connect(self, address: Address) -> PeerLink:
        """The open link to the peer that listens at `address`; an existing one if there is one.

        Raises Unreachable, PeerTimeout, ProtocolViolation (SelfConnection when it is this peer itself).
        """
        while (running := self._dials.get(address)) is not None:
            await asyncio.wait([running])
            if not running.cancelled():
                return running.result()
        running = asyncio.get_running_loop().create_future()
        self._dials[address] = running
        try:
            running.set_result(await self._dial(address))
        except PearrtError as e:
            running.set_exception(e)
        finally:
            running.cancel()  # no effect but when this caller was cancelled: then another may try
            del self._dials[address]
        return running.result()

    async def _dial(self, address: Address) -> PeerLink:
        if self._closing:
            raise Unreachable("This peer is shutting down.")
        if len(self._all) >= self._limits.max_connections:
            raise Unreachable(f"This peer has its {self._limits.max_connections} links already.")
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[PeerLink] = loop.create_future()
        known: list[bytes] = []

        def approve(peer_id: bytes) -> None:
            if self.link_to(peer_id) or peer_id in self._dialled:
                raise _AlreadyLinked(peer_id)
            self._dialled[peer_id] = opened
            known.append(peer_id)

        handshake = Handshake(
            self._identity, initiator=True, random_bytes=os.urandom, psk=self._psk, approve=approve
        )
        link = self._link(handshake, lambda: None)
        self._waiting[link] = opened
        try:
            await self._open_transport(link, address)
            link = await opened
            return self.link_to(link.peer_id) or link  # another one may be kept by now
        except _AlreadyLinked as e:
            return await self._existing(e.peer_id)
        finally:
            self._waiting.pop(link, None)
            for peer_id in known:
                self._dialled.pop(peer_id, None)
            if not opened.done() or opened.cancelled() or opened.exception():
                link.abort()
                if not link.has_transport:
                    self._all.discard(link)

    async def _open_transport(self, link: PeerLink, address: Address) -> None:
        host, port = address
        try:
            async with asyncio.timeout(self._limits.connect_timeout_s):
                await asyncio.get_running_loop().create_connection(lambda: link, host, port)
        except TimeoutError as e:
            raise PeerTimeout(f"{host} port {port} does not answer.") from e
        except OSError as e:
            raise Unreachable(f"Cannot connect to {host} port {port}: {e.strerror or e}.") from e

    async def _existing(self, peer_id: bytes) -> PeerLink:
        link = self.link_to(peer_id)
        if link is not None:
            link.probe()
            return link
        pending = self._dialled.get(peer_id)
        if pending is not None:
            await asyncio.wait([pending])
            if not pending.cancelled():
                return pending.result()
        raise Unreachable("The link to this peer has just ended.")

    # -- one link per peer

    def _opened(self, link: PeerLink) -> None:
        self._listener.authenticated(link)
        log.debug("%r opened, %s, %s", link, link.protocol_name, link.hello.agent)
        old = self.link_to(link.peer_id)
        if old is not None:
            if not self._prefer(link, old):
                self._settle(link, old)
                link.close("another connection is kept", code=BYE_DUPLICATE)
                return
            old.close("another connection is kept", code=BYE_DUPLICATE)
            old.tell_lost()
        self._links[link.peer_id] = link
        self._settle(link, link)
        if self.on_link is not None:
            self.on_link(link)

    def _prefer(self, new: PeerLink, old: PeerLink) -> bool:
        """Whether `new` replaces `old`; both peers decide alike."""
        simultaneous = new.opened_at - old.opened_at < self._limits.simultaneous_s
        if not simultaneous or new.initiator == old.initiator:
            return True
        return new.initiator == (self.peer_id < new.peer_id)

    def _settle(self, link: PeerLink, kept: PeerLink) -> None:
        waiting = self._waiting.pop(link, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(kept)

    def _ended(self, link: PeerLink) -> None:
        self._all.discard(link)
        log.debug("%r ended: %s", link, link.error or "bye")
        waiting = self._waiting.pop(link, None)
        if waiting is not None and not waiting.done():
            waiting.set_exception(link.error or Unreachable("The peer has closed the connection."))
        with contextlib.suppress(AssertionError):
            if self._links.get(link.peer_id) is link:
                del self._links[link.peer_id]
