"""`PeerLink`: one authenticated connection on an asyncio transport.

The pure `Connection` decides; this moves bytes. Received bytes go straight into the connection's buffer
(`asyncio.BufferedProtocol`). What is queued leaves when the transport has room: small messages before
blocks, and no more than about one block ahead of the socket, so that little waits behind what was already
handed over.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Protocol

from pearrt.errors import LimitExceeded, NetworkError, PearrtError, PeerTimeout, RemoteError, Unreachable
from pearrt.peer.bodies import Address
from pearrt.peer.connection import Connection, Opened, State
from pearrt.peer.handshake import Session
from pearrt.peer.limits import PeerLimits
from pearrt.peer.messages import BYE_DONE, BYE_IDLE, BYE_LIMIT, BYE_VIOLATION, Block, Bye, Hello, Message

WRITE_HIGH_BYTES = 64 * 1024
WRITE_LOW_BYTES = 16 * 1024
UNSENT_LOW_BYTES = 256 * 1024  # TCP_NOTSENT_LOWAT: what waits in the kernel can no longer be overtaken


class LinkReceiver(Protocol):
    """What happens to a link, told on the event loop. A RemoteError raised here closes the link."""

    def message_received(self, link: PeerLink, message: Message) -> None:
        """A message came. A Block's `data` is the receiver's own; it judges whether it asked for it."""

    def link_ready(self, link: PeerLink) -> None:
        """`can_send` has become true: the next block would go out at once."""

    def link_lost(self, link: PeerLink, error: PearrtError | None) -> None:
        """The link has ended, once; None after a BYE of either side."""


class PeerLink(asyncio.BufferedProtocol):
    """One connection to one peer. Made by PeerService; `on_link` gets it opened and sets `receiver`."""

    def __init__(
        self,
        connection: Connection,
        limits: PeerLimits,
        *,
        on_open: Callable[[PeerLink], None],
        on_end: Callable[[PeerLink], None],
    ) -> None:
        self.receiver: LinkReceiver | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        self.opened_at = 0.0
        self.address: Address = ("", 0)
        self.error: PearrtError | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connection = connection
        self._limits = limits
        self._on_open = on_open
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._flush_handle: asyncio.Handle | None = None
        self._paused = False
        self._ready = True
        self._told_lost = False

    def __repr__(self) -> str:
        peer = self.peer_id.hex()[:8] if self._connection.session else "?"
        return f"<PeerLink {peer} {self.address[0]}:{self.address[1]} {self._connection.state.value}>"

    # -- what it is

    @property
    def peer_id(self) -> bytes:
        """The peer's Ed25519 public key, proven."""
        return self._session.peer_id

    @property
    def handshake_hash(self) -> bytes:
        """Names this connection; see pearrt.peer.topic."""
        return self._session.handshake_hash

    @property
    def initiator(self) -> bool:
        """Whether this side dialled."""
        return self._session.initiator

    @property
    def protocol_name(self) -> str:
        """The Noise protocol in use."""
        return self._session.protocol_name

    @property
    def hello(self) -> Hello:
        """What the peer said of itself."""
        assert self._connection.hello is not None, "the link is not open yet"
        return self._connection.hello

    @property
    def listen_address(self) -> Address | None:
        """Where the peer says it can be dialled, at the address it is seen from."""
        return (self.address[0], self.hello.port) if self.hello.port else None

    @property
    def local_host(self) -> str:
        """The address of this machine that the peer is connected to."""
        name = self._transport.get_extra_info("sockname") if self._transport else None
        return name[0] if name else ""

    @property
    def rtt_s(self) -> float | None:
        """The last measured round trip."""
        return self._connection.rtt_s

    @property
    def has_transport(self) -> bool:
        """Whether there is a TCP connection, or was."""
        return self._transport is not None

    @property
    def closed(self) -> bool:
        """Whether nothing more can be sent."""
        return self._connection.state is State.CLOSED

    @property
    def _session(self) -> Session:
        assert self._connection.session is not None, "the link is not open yet"
        return self._connection.session

    # -- sending

    def send(self, message: Message) -> None:
        """Queues a message; blocks go out one at a time, behind all else. Does nothing on a closed link."""
        try:
            self._connection.send(message)
        except LimitExceeded as e:
            self.fail(e)
            return
        if isinstance(message, Block):
            self._ready = False
        if self._flush_handle is None:
            self._flush_handle = self._loop.call_soon(self._flush)

    @property
    def can_send(self) -> bool:
        """Whether a block sent now would go out at once: none is queued and the socket takes more."""
        return not self._paused and self.queued_blocks == 0 and not self.closed

    @property
    def queued_blocks(self) -> int:
        """Blocks not yet handed to the socket."""
        outbox = self._connection.outbox
        return outbox.blocks if outbox else 0

    @property
    def queued_bytes(self) -> int:
        """Bytes not yet taken by the kernel."""
        outbox = self._connection.outbox
        waiting = outbox.control_bytes + outbox.block_bytes if outbox else 0
        return waiting + (self._transport.get_write_buffer_size() if self._transport else 0)

    def drop_block(self, id_: bytes) -> bool:
        """Takes a queued block back that has not begun to leave; whether there was one."""
        outbox = self._connection.outbox
        return outbox.drop_block(id_) if outbox else False

    def close(self, reason: str = "", *, code: int = BYE_DONE) -> None:
        """Says BYE with `reason` (for people) and closes; queued blocks are dropped. `link_lost` follows."""
        if not self.closed:
            self._connection.say_bye(code, reason)
            self._shut()

    def fail(self, error: PearrtError) -> None:
        """Closes because of `error`, which `link_lost` then tells; the peer learns whose fault it was."""
        if self.error is None:
            self.error = error
        code = BYE_LIMIT if isinstance(error, LimitExceeded) else BYE_VIOLATION
        if isinstance(error, PeerTimeout):
            code = BYE_IDLE
        self._connection.say_bye(code, error.message)
        self._shut()

    def probe(self) -> None:
        """Asks for a sign of life soon; without one the link is dropped."""
        if not self.closed:
            self._connection.probe(self._loop.time())
            self._flush()
            self._tick()

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self.closed:  # given up while the dial was under way
            transport.abort()
            return
        peername = transport.get_extra_info("peername")
        self.address = peername[:2] if peername else self.address  # None: it has gone again already
        self._connection.begin(self._loop.time())
        transport.set_write_buffer_limits(WRITE_HIGH_BYTES, WRITE_LOW_BYTES)
        sock = transport.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError):  # not on every system
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LOW_BYTES)
        self._flush()
        self._tick()

    def feed(self, data: bytes) -> None:
        """Takes bytes that were received before this protocol was in charge."""
        while data and not self.closed:
            room = self._connection.room()
            size = min(len(room), len(data))
            room[:size] = data[:size]
            data = data[size:]
            self.buffer_updated(size)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._connection.room()

    def buffer_updated(self, nbytes: int) -> None:
        self.bytes_in += nbytes
        if self.closed:
            return
        try:
            for event in self._connection.received(nbytes, self._loop.time()):
                if isinstance(event, Opened):
                    self.opened_at = self._loop.time()
                    self._on_open(self)
                    self._tick()
                elif isinstance(event, Bye):
                    self._shut()
                elif self.receiver is not None:
                    self.receiver.message_received(self, event)
                if self._connection.state is State.CLOSED:
                    return
        except (RemoteError, NetworkError) as e:
            self.fail(e)
            return
        self._flush()

    def _flush(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        while not self._paused or self.closed:
            piece = self._connection.to_send()
            if piece is None:
                break
            self.bytes_out += len(piece)
            transport.write(piece)
        if not self._ready and self.can_send:
            self._ready = True
            if self.receiver is not None:
                self.receiver.link_ready(self)

    def pause_writing(self) -> None:
        self._paused = True
        self._ready = False

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def _tick(self) -> None:
        if self.closed:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            due = self._connection.tick(self._loop.time())
        except PeerTimeout as e:
            self.fail(e)
            return
        self._timer = self._loop.call_at(due, self._tick)
        self._flush()

    def _shut(self) -> None:
        """Flushes what is queued and closes the transport, by force if that takes too long."""
        if self._transport is None or self._transport.is_closing():
            return
        self._flush()
        self._transport.close()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._limits.close_timeout_s, self._transport.abort)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        for handle in (self._timer, self._flush_handle):
            if handle is not None:
                handle.cancel()
        self._timer = self._flush_handle = None
        if not self.closed and self.error is None:
            self.error = Unreachable("The peer has closed the connection without a word.")
            self.error.__cause__ = exc
        self._connection.state = State.CLOSED
        self.tell_lost()
        self._on_end(self)
        if not self.ended.done():
            self.ended.set_result(None)

    def tell_lost(self) -> None:
        """Tells the receiver that the link has ended, if it was not told yet."""
        if not self._told_lost and self.receiver is not None:
            self._told_lost = True
            self.receiver.link_lost(self, self.error)

    def abort(self) -> None:
        """Drops the connection at once."""
        self._connection.state = State.CLOSED
        if self._transport is not None:
            self._transport.abort()
