"""The messages of the DHT as values (BEP 5, 32, 44): what a datagram says, with every field checked.

`krpc` turns datagrams into these and back; nothing past it sees a dict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pearrt.dht.contact import Address, Contact, Family
from pearrt.dht.items import Item


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there?"""


@dataclass(frozen=True, slots=True)
class FindNode:
    """Which nodes are closest to `target`? `want` names families beside the asker's own (BEP 32)."""

    target: bytes
    want: tuple[Family, ...] = ()


@dataclass(frozen=True, slots=True)
class GetPeers:
    """Which peers have `target` announced, and which nodes are closest to it?"""

    target: bytes
    want: tuple[Family, ...] = ()


@dataclass(frozen=True, slots=True)
class AnnouncePeer:
    """I am a peer of `target` at `port` of my address (the datagram's own port if `implied_port`)."""

    target: bytes
    port: int
    token: bytes
    implied_port: bool = False


@dataclass(frozen=True, slots=True)
class Get:
    """The item under `target`; only its seq if that is no higher than `seq` (BEP 44)."""

    target: bytes
    seq: int | None = None
    want: tuple[Family, ...] = ()


@dataclass(frozen=True, slots=True)
class Put:
    """Store `item` (BEP 44)."""

    item: Item
    token: bytes
    cas: int | None = None


Request = Ping | FindNode | GetPeers | AnnouncePeer | Get | Put


@dataclass(frozen=True, slots=True)
class Query:
    """A request with its envelope. `read_only` senders are not to be kept as contacts (BEP 43)."""

    transaction: bytes
    sender: bytes
    request: Request
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. Which fields matter depends on what was asked; `observed` is our address as the sender saw
    it."""

    transaction: bytes
    sender: bytes
    contacts: Sequence[Contact] = ()
    contacts6: Sequence[Contact] = ()
    token: bytes = b""
    peers: Sequence[Address] | None = None
    item: Item | None = None
    seq: int | None = None
    observed: Address | None = None


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """A refusal: the code and text of BEP 5 or BEP 44."""

    transaction: bytes
    code: int
    text: str


Message = Query | Response | ErrorReply
