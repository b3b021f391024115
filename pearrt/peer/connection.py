"""One connection from its first byte to its last: bytes and `now` in, events and bytes out. No I/O.

    HANDSHAKE --session--> HELLO --their HELLO--> OPEN --BYE, close--> CLOSED
        any state --violation, timeout, end of stream--> CLOSED

- HANDSHAKE and HELLO together must end within `handshake_timeout_s`, however the bytes trickle.
- HELLO is the first message of each direction and comes once. Nothing else is handed over before it.
- In OPEN, a peer that is silent for `ping_after_s` is pinged; one that shows no sign of life for
  `dead_after_s` is dropped. Signs of life are whole messages and records of `min_sign_of_life_bytes`: one
  byte a minute is none.
- PING and PONG are dealt with here; every other message is an event. Whether a BLOCK was asked for is not
  judged here.
- Errors are raised (ProtocolViolation, LimitExceeded, PeerTimeout) and leave the connection CLOSED.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from pearrt.errors import PeerTimeout, ProtocolViolation
from pearrt.peer.framing import RecordReader
from pearrt.peer.handshake import Handshake, Session
from pearrt.peer.limits import MessageMeter, PeerLimits
from pearrt.peer.messages import Block, Bye, Hello, Message, Ping, Pong
from pearrt.peer.outbox import Outbox
from pearrt.peer.pool import BufferPool

HANDSHAKE_BUFFER_BYTES = 2048


class State(Enum):
    HANDSHAKE = "handshake"
    HELLO = "hello"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer is authenticated and has said HELLO; from now on messages come and go."""

    session: Session
    hello: Hello


Event: TypeAlias = Opened | Message


class Connection:
    """See the module's rules. `rtt_s` is the round trip of the last PING, or None.

    `pool` lends the memory of received BLOCKs; the connections of one thread share one.
    """

    def __init__(
        self,
        handshake: Handshake,
        hello: Hello,
        limits: PeerLimits,
        now: float,
        pool: BufferPool | None = None,
    ) -> None:
        self.state = State.HANDSHAKE
        self.session: Session | None = None
        self.hello: Hello | None = None
        self.rtt_s: float | None = None
        self.outbox: Outbox | None = None
        self._handshake = handshake
        self._our_hello = hello
        self._limits = limits
        self._pool = pool or BufferPool()
        self._meter = MessageMeter(limits, now)
        self._buffer = memoryview(bytearray(HANDSHAKE_BUFFER_BYTES))
        self._reader: RecordReader | None = None
        self._greeting = handshake.start()
        self._began = now
        self._heard = now
        self._said_bye = False
        self._pings = 0
        self._ping_sent: float | None = None
        self._dead_at: float | None = None

    def begin(self, now: float) -> None:
        """The transport is there: the handshake's time begins."""
        self._began = self._heard = now

    # -- receiving

    def room(self) -> memoryview:
        """Where the next received bytes go; never empty. Tell `received` how many were written."""
        return self._reader.room() if self._reader else self._buffer

    def received(self, count: int, now: float) -> Iterator[Event]:
        """The events that the last `count` bytes in `room` make. Consume it fully; it raises RemoteErrors."""
        try:
            if self._reader is None:
                yield from self._handshake_bytes(bytes(self._buffer[:count]), now)
            else:
                yield from self._record_bytes(count, now)
        except BaseException:
            self.state = State.CLOSED
            raise

    def _handshake_bytes(self, data: bytes, now: float) -> Iterator[Event]:
        self._greeting += self._handshake.receive(data)
        session = self._handshake.session
        if session is None:
            return
        self.session = session
        self.state = State.HELLO
        self.outbox = Outbox(session.send, self._limits.max_control_queue_bytes, self._pool)
        self.outbox.put(self._our_hello)
        self._reader = RecordReader(session.receive, self._pool)
        rest = self._handshake.rest
        self._reader.room()[: len(rest)] = rest
        yield from self._record_bytes(len(rest), now)

    def _record_bytes(self, count: int, now: float) -> Iterator[Event]:
        assert self._reader is not None
        heard = 0
        for message in self._reader.received(count):
            if not isinstance(message, Block):
                heard += 1
            self._heard = now
            self._dead_at = None
            event = self._message(message, now)
            if event is not None:
                yield event
            if self.state is State.CLOSED:
                return
        if heard:
            self._meter.count(heard, now)
        if self._reader.record_bytes >= self._limits.min_sign_of_life_bytes:
            self._heard = now

    def _message(self, message: Message, now: float) -> Event | None:
        if self.state is State.HELLO:
            if not isinstance(message, Hello):
                raise ProtocolViolation("The first message is not HELLO.")
            assert self.session is not None
            self.hello = message
            self.state = State.OPEN
            self._ping(now)
            return Opened(self.session, message)
        if isinstance(message, Ping):
            self.send(Pong(message.token))
            return None
        if isinstance(message, Pong):
            self._pong(message, now)
            return None
        if isinstance(message, Hello):
            raise ProtocolViolation("A second HELLO.")
        if isinstance(message, Bye):
            self._said_bye = True  # no answer is due, and nothing that waits is wanted any more
            self.state = State.CLOSED
            if self.outbox is not None:
                self.outbox.clear()
        return message

    def _pong(self, message: Pong, now: float) -> None:
        if self._ping_sent is None or message.token != self._pings.to_bytes(8):
            raise ProtocolViolation("A PONG that answers no PING.")
        self.rtt_s = now - self._ping_sent
        self._ping_sent = None

    # -- sending

    def send(self, message: Message) -> None:
        """Queues a message; only once there is a session. Raises LimitExceeded if the peer does not read."""
        assert self.outbox is not None, "no session yet"
        if self.state is not State.CLOSED:
            self.outbox.put(message)

    def to_send(self) -> bytes | memoryview | None:
        """The next piece for the transport, None if there is none now."""
        if self._greeting:
            greeting, self._greeting = self._greeting, b""
            return greeting
        return self.outbox.pull() if self.outbox else None

    def say_bye(self, reason: int, text: str = "") -> None:
        """Drops queued BLOCKs, queues BYE where there is a session, closes. Only the first call counts."""
        if self.outbox and not self._said_bye:
            self.outbox.drop_blocks()
            self.outbox.put_last(Bye(reason, text))
        self._said_bye = True
        self.state = State.CLOSED

    # -- time

    def probe(self, now: float) -> None:
        """Asks for a sign of life within `probe_timeout_s`."""
        if self.state is State.OPEN and self._dead_at is None:
            self._dead_at = now + self._limits.probe_timeout_s
            if self._ping_sent is None:
                self._ping(now)

    def _ping(self, now: float) -> None:
        self._pings += 1
        self._ping_sent = now
        self.send(Ping(self._pings.to_bytes(8)))

    def tick(self, now: float) -> float:
        """Does what is due and returns when to call again. Raises PeerTimeout."""
        limits = self._limits
        try:
            if self.state in {State.HANDSHAKE, State.HELLO}:
                deadline = self._began + limits.handshake_timeout_s
                if now >= deadline:
                    raise PeerTimeout("The peer did not finish the handshake in time.")
                return deadline
            deadline = self._heard + limits.dead_after_s
            if self._dead_at is not None:
                deadline = min(deadline, self._dead_at)
            if now >= deadline:
                raise PeerTimeout("The peer has gone silent.")
            ping_at = max(self._heard, self._ping_sent or 0.0) + limits.ping_after_s
            if now >= ping_at and self.state is State.OPEN:
                if self._ping_sent is None:
                    self._ping(now)
                ping_at = now + limits.ping_after_s
            return min(deadline, ping_at)
        except PeerTimeout:
            self.state = State.CLOSED
            raise
