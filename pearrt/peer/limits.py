"""The bounds of peer connections, in one place.

`MessageMeter` bounds how many messages a peer may send, whatever they ask for: a token bucket that refills at
`messages_per_s`. BLOCKs are not counted: they answer requests, and their bytes are bounded by the line.
"""

from __future__ import annotations

from dataclasses import dataclass

from pearrt.errors import LimitExceeded


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """Times in seconds, sizes in bytes. Addresses: one IPv4 address or one IPv6 /64."""

    max_connections: int = 400
    max_connections_per_address: int = 64
    max_handshakes: int = 128  # inbound ones at once; a further one takes the place of the oldest
    connections_per_s_and_address: float = 30.0
    connection_burst_per_address: int = 300
    max_http_connections: int = 64
    max_http_connections_per_address: int = 16
    connect_timeout_s: float = 10.0
    handshake_timeout_s: float = 10.0  # from the first byte until HELLO has arrived
    http_head_timeout_s: float = 10.0
    http_stall_timeout_s: float = 60.0  # in which a client must take what waits for it
    ping_after_s: float = 60.0
    dead_after_s: float = 150.0
    probe_timeout_s: float = 5.0
    close_timeout_s: float = 3.0
    simultaneous_s: float = 10.0  # two connections opened within this time were dialled at the same time
    min_sign_of_life_bytes: int = 1024
    max_control_queue_bytes: int = 8 << 20
    messages_per_s: float = 20_000.0  # an honest peer at 700 MB/s sends a HAVE and a REQUEST per block: 5,400
    message_burst: int = 40_000


class MessageMeter:
    """A token bucket of messages."""

    __slots__ = ("_burst", "_last", "_left", "_rate")

    def __init__(self, limits: PeerLimits, now: float) -> None:
        self._rate = limits.messages_per_s
        self._burst = float(limits.message_burst)
        self._left = self._burst
        self._last = now

    def count(self, messages: int, now: float) -> None:
        """Raises LimitExceeded when the peer has sent more messages than it may."""
        self._left = min(self._burst, self._left + (now - self._last) * self._rate) - messages
        self._last = now
        if self._left < 0:
            raise LimitExceeded("The peer floods this connection with messages.")
