"""The messages of the peer protocol, version 1: what they hold, their bytes and their caps.

On the wire a message is a header (u32: type in the top byte, body length in the low 24 bits) and a body. All
integers are big-endian. Each type has one class; `TYPE` and `MAX_BODY_BYTES` are its row in the table of
docs/protocol/peer.md.

- `check_header` runs before a body is read: nothing is allocated for an unknown type or an overlong body.
- `decode` refuses every body that `encode` would not have produced, except that HELLO may carry keys that a
  later version defines; so equal messages have equal bytes.
- A wrong body from a peer is a ProtocolViolation or LimitExceeded; a wrong field of our own is a ValueError.
- `channel` is the u32 that stands for one app on one connection (`pearrt.peer.topic`); `ref` is the first
  four bytes, as u32, of an index digest; ordinals count the unique blocks of an index in their order there.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import ClassVar, TypeAlias, get_args

from pearrt.codec import bencode
from pearrt.errors import LimitExceeded, ProtocolViolation

Address: TypeAlias = tuple[str, int]
Buffer: TypeAlias = bytes | bytearray | memoryview

PROTOCOL_VERSION = 1
HEADER_BYTES = 4
ID_BYTES = 32
CHANNEL_BYTES = 4
MAX_AGENT_BYTES = 64
MAX_PROOFS = 256
MAX_TIMESTAMP_BYTES = 4096
MAX_METADATA_BYTES = 1 << 20
MAX_PROOF_BYTES = (1 << 19) + 4096  # two targets metadata and what shows that they part
MAX_BITFIELD_BYTES = 1 << 18
MAX_ORDINALS = 1024
MAX_REQUEST_IDS = 64
MAX_CANCEL_IDS = 256
MAX_BLOCK_BYTES = 1 << 18
MAX_ADDRESSES = 50
MAX_BYE_TEXT_BYTES = 200
PING_BYTES = 8

NOT_FOUND, BUSY, LIMIT = 1, 2, 3  # reasons of REFUSE

BYE_DONE = 0  # reasons of BYE: nothing more to do here
BYE_SHUTDOWN = 1  # the peer's process is ending
BYE_DUPLICATE = 2  # another connection to the same peer is kept
BYE_IDLE = 3  # no common app, or nothing heard for too long
BYE_LIMIT = 4  # no room for more connections
BYE_VIOLATION = 5  # the other side broke the rules

_U32 = struct.Struct(">I")
_CHANNEL_REF = struct.Struct(">II")


def _need(condition: bool, what: str) -> None:
    if not condition:
        raise ProtocolViolation(f"Peer message: {what}")


def _channel_of(body: Buffer) -> int:
    _need(len(body) >= CHANNEL_BYTES, "no room for the channel")
    return int.from_bytes(body[:CHANNEL_BYTES])


def _ids_of(body: Buffer) -> tuple[bytes, ...]:
    _need(len(body) > 0 and len(body) % ID_BYTES == 0, "no whole number of ids")
    return tuple(bytes(body[at : at + ID_BYTES]) for at in range(0, len(body), ID_BYTES))


def _join_ids(ids: Sequence[bytes], most: int) -> bytes:
    if not 0 < len(ids) <= most or any(len(id_) != ID_BYTES for id_ in ids):
        raise ValueError(f"1 to {most} ids of {ID_BYTES} bytes are needed")
    return b"".join(ids)


def _ordinals_of(body: Buffer) -> tuple[int, ...]:
    _need(len(body) % 4 == 0, "no whole number of ordinals")
    return struct.unpack(f">{len(body) // 4}I", body)


def _join_ordinals(ordinals: Sequence[int], least: int) -> bytes:
    if not least <= len(ordinals) <= MAX_ORDINALS:
        raise ValueError(f"{least} to {MAX_ORDINALS} ordinals are needed")
    return struct.pack(f">{len(ordinals)}I", *ordinals)


@dataclass(frozen=True, slots=True)
class Hello:
    """First message each way. The sender listens on `port` of the address it is seen from; 0 = nowhere."""

    TYPE: ClassVar[int] = 0x01
    MAX_BODY_BYTES: ClassVar[int] = 512

    agent: str
    port: int = 0
    version: int = PROTOCOL_VERSION

    def body(self) -> bytes:
        if len(self.agent.encode()) > MAX_AGENT_BYTES or not 0 <= self.port < 65536:
            raise ValueError("HELLO: agent too long or port out of range")
        return bencode.encode({"agent": self.agent, "port": self.port, "v": self.version})

    @classmethod
    def parse(cls, body: Buffer) -> Hello:
        fields = bencode.decode(bytes(body), max_depth=4, max_items=64)
        _need(isinstance(fields, dict), "HELLO is no dictionary")
        agent, port, version = fields.get(b"agent"), fields.get(b"port"), fields.get(b"v")
        _need(isinstance(version, int) and version >= 1, "HELLO without a version")
        _need(isinstance(port, int) and 0 <= port < 65536, "HELLO with a bad port")
        _need(isinstance(agent, bytes) and len(agent) <= MAX_AGENT_BYTES, "HELLO with a bad agent")
        return cls(_printable(agent), port, version)


def _printable(text: bytes) -> str:
    """Text of a peer as it may be shown: undecodable bytes and control characters become U+FFFD."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text.decode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Join:
    """The sender is here for the apps whose topics prove to these values (`topic.join_proof`)."""

    TYPE: ClassVar[int] = 0x02
    MAX_BODY_BYTES: ClassVar[int] = 1 + MAX_PROOFS * ID_BYTES

    proofs: tuple[bytes, ...]
    flags: int = 0

    def body(self) -> bytes:
        return bytes([self.flags]) + _join_ids(self.proofs, MAX_PROOFS)

    @classmethod
    def parse(cls, body: Buffer) -> Join:
        _need(len(body) > 1, "JOIN without proofs")
        return cls(_ids_of(body[1:]), body[0])


@dataclass(frozen=True, slots=True)
class Leave:
    """The sender is no longer here for this app."""

    TYPE: ClassVar[int] = 0x03
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES

    channel: int

    def body(self) -> bytes:
        return _U32.pack(self.channel)

    @classmethod
    def parse(cls, body: Buffer) -> Leave:
        return cls(_channel_of(body))


@dataclass(frozen=True, slots=True)
class Timestamp:
    """The newest timestamp metadata the sender trusts (TUF spec 1.0.34, section 4.6), as signed bytes."""

    TYPE: ClassVar[int] = 0x04
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + MAX_TIMESTAMP_BYTES

    channel: int
    metadata: bytes

    def body(self) -> bytes:
        return _U32.pack(self.channel) + self.metadata

    @classmethod
    def parse(cls, body: Buffer) -> Timestamp:
        return cls(_channel_of(body), bytes(body[CHANNEL_BYTES:]))


@dataclass(frozen=True, slots=True)
class GetMetadata:
    """Asks for METADATA whose roots begin with version `first_root`."""

    TYPE: ClassVar[int] = 0x05
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + 4

    channel: int
    first_root: int

    def body(self) -> bytes:
        return _CHANNEL_REF.pack(self.channel, self.first_root)

    @classmethod
    def parse(cls, body: Buffer) -> GetMetadata:
        _need(len(body) == _CHANNEL_REF.size, "GET_METADATA of wrong length")
        return cls(*_CHANNEL_REF.unpack(body))


@dataclass(frozen=True, slots=True)
class Metadata:
    """A bencoded metadata set (`pearrt.trust.metadata_set`); empty where the sender trusts nothing yet."""

    TYPE: ClassVar[int] = 0x06
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + MAX_METADATA_BYTES

    channel: int
    metadata: bytes

    def body(self) -> bytes:
        return _U32.pack(self.channel) + self.metadata

    @classmethod
    def parse(cls, body: Buffer) -> Metadata:
        return cls(_channel_of(body), bytes(body[CHANNEL_BYTES:]))


@dataclass(frozen=True, slots=True)
class HaveAll:
    """The sender holds every block of the index with this digest."""

    TYPE: ClassVar[int] = 0x07
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + ID_BYTES

    channel: int
    index_digest: bytes

    def body(self) -> bytes:
        return _U32.pack(self.channel) + _join_ids([self.index_digest], 1)

    @classmethod
    def parse(cls, body: Buffer) -> HaveAll:
        _need(len(body) == cls.MAX_BODY_BYTES, "HAVE_ALL of wrong length")
        return cls(_channel_of(body), bytes(body[CHANNEL_BYTES:]))


@dataclass(frozen=True, slots=True)
class Bitfield:
    """Which blocks of the index the sender holds; ordinal 0 is the top bit of byte 0, spare bits are zero."""

    TYPE: ClassVar[int] = 0x08
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + ID_BYTES + MAX_BITFIELD_BYTES

    channel: int
    index_digest: bytes
    bits: bytes

    def body(self) -> bytes:
        return _U32.pack(self.channel) + _join_ids([self.index_digest], 1) + self.bits

    @classmethod
    def parse(cls, body: Buffer) -> Bitfield:
        _need(len(body) > CHANNEL_BYTES + ID_BYTES, "BITFIELD without bits")
        digest_end = CHANNEL_BYTES + ID_BYTES
        return cls(_channel_of(body), bytes(body[CHANNEL_BYTES:digest_end]), bytes(body[digest_end:]))


@dataclass(frozen=True, slots=True)
class Have:
    """The sender now also holds these blocks."""

    TYPE: ClassVar[int] = 0x09
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + 4 + 4 * MAX_ORDINALS

    channel: int
    ref: int
    ordinals: tuple[int, ...]

    def body(self) -> bytes:
        return _CHANNEL_REF.pack(self.channel, self.ref) + _join_ordinals(self.ordinals, 1)

    @classmethod
    def parse(cls, body: Buffer) -> Have:
        _need(len(body) > _CHANNEL_REF.size, "HAVE without ordinals")
        channel, ref = _CHANNEL_REF.unpack_from(body)
        return cls(channel, ref, _ordinals_of(body[_CHANNEL_REF.size :]))


@dataclass(frozen=True, slots=True)
class Request:
    """Asks for blocks of any bundle of the app, an index's own blocks included."""

    TYPE: ClassVar[int] = 0x0A
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + MAX_REQUEST_IDS * ID_BYTES

    channel: int
    ids: tuple[bytes, ...]

    def body(self) -> bytes:
        return _U32.pack(self.channel) + _join_ids(self.ids, MAX_REQUEST_IDS)

    @classmethod
    def parse(cls, body: Buffer) -> Request:
        return cls(_channel_of(body), _ids_of(body[CHANNEL_BYTES:]))


@dataclass(frozen=True, slots=True)
class AnyBlocks:
    """ANY: asks for `count` blocks of the index that the asker lacks; which ones is up to the seed."""

    TYPE: ClassVar[int] = 0x0B
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + 5

    channel: int
    ref: int
    count: int

    def body(self) -> bytes:
        if not 0 < self.count < 256:
            raise ValueError("ANY: count is 1 to 255")
        return _CHANNEL_REF.pack(self.channel, self.ref) + bytes([self.count])

    @classmethod
    def parse(cls, body: Buffer) -> AnyBlocks:
        _need(len(body) == cls.MAX_BODY_BYTES and body[-1] > 0, "ANY of wrong length or for nothing")
        channel, ref = _CHANNEL_REF.unpack_from(body)
        return cls(channel, ref, body[-1])


@dataclass(frozen=True, slots=True)
class Promise:
    """The answer to ANY, before the blocks: these will come unless cancelled. Empty = nothing to give."""

    TYPE: ClassVar[int] = 0x0C
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + 4 + 4 * MAX_ORDINALS

    channel: int
    ref: int
    ordinals: tuple[int, ...]

    def body(self) -> bytes:
        return _CHANNEL_REF.pack(self.channel, self.ref) + _join_ordinals(self.ordinals, 0)

    @classmethod
    def parse(cls, body: Buffer) -> Promise:
        _need(len(body) >= _CHANNEL_REF.size, "PROMISE of wrong length")
        channel, ref = _CHANNEL_REF.unpack_from(body)
        return cls(channel, ref, _ordinals_of(body[_CHANNEL_REF.size :]))


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Stored bytes of one block. A received `data` is the receiver's own: nothing else writes or reads it.

    The digest is *not* checked here: who asked for the block compares SHA-256(data) with `id`.
    """

    TYPE: ClassVar[int] = 0x0D
    MAX_BODY_BYTES: ClassVar[int] = ID_BYTES + MAX_BLOCK_BYTES

    id: bytes
    data: Buffer

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Block) and self.id == other.id and self.data == other.data

    __hash__ = None  # type: ignore[assignment]  # data may be mutable

    def head(self) -> bytes:
        """Header and id: what goes before the data."""
        if not self.data:
            raise ValueError("BLOCK: a block has at least one byte")
        return encode_header(self.TYPE, ID_BYTES + len(self.data)) + _join_ids([self.id], 1)

    def body(self) -> bytes:
        return _join_ids([self.id], 1) + self.data

    @classmethod
    def parse(cls, body: Buffer) -> Block:
        _need(len(body) > ID_BYTES, "BLOCK without data")
        view = memoryview(body)
        return cls(bytes(view[:ID_BYTES]), view[ID_BYTES:])


@dataclass(frozen=True, slots=True)
class Cancel:
    """These blocks, requested or promised, are no longer wanted; one already on its way may still arrive."""

    TYPE: ClassVar[int] = 0x0E
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + MAX_CANCEL_IDS * ID_BYTES

    channel: int
    ids: tuple[bytes, ...]

    def body(self) -> bytes:
        return _U32.pack(self.channel) + _join_ids(self.ids, MAX_CANCEL_IDS)

    @classmethod
    def parse(cls, body: Buffer) -> Cancel:
        return cls(_channel_of(body), _ids_of(body[CHANNEL_BYTES:]))


@dataclass(frozen=True, slots=True)
class Refuse:
    """These requested blocks will not come; `reason` is NOT_FOUND, BUSY or LIMIT."""

    TYPE: ClassVar[int] = 0x0F
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + 1 + MAX_REQUEST_IDS * ID_BYTES

    channel: int
    reason: int
    ids: tuple[bytes, ...]

    def body(self) -> bytes:
        return _U32.pack(self.channel) + bytes([self.reason]) + _join_ids(self.ids, MAX_REQUEST_IDS)

    @classmethod
    def parse(cls, body: Buffer) -> Refuse:
        _need(len(body) > CHANNEL_BYTES, "REFUSE without a reason")
        return cls(_channel_of(body), body[CHANNEL_BYTES], _ids_of(body[CHANNEL_BYTES + 1 :]))


@dataclass(frozen=True, slots=True)
class Peers:
    """Peer exchange: where other peers of this app listen. Hints only."""

    TYPE: ClassVar[int] = 0x10
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + 2 + MAX_ADDRESSES * 21

    channel: int
    addresses: tuple[Address, ...]

    def body(self) -> bytes:
        if len(self.addresses) > MAX_ADDRESSES:
            raise ValueError(f"PEERS: at most {MAX_ADDRESSES} addresses")
        return _U32.pack(self.channel) + bencode.encode([_compact(address) for address in self.addresses])

    @classmethod
    def parse(cls, body: Buffer) -> Peers:
        channel = _channel_of(body)
        addresses = bencode.decode(bytes(body[CHANNEL_BYTES:]), max_depth=1, max_items=MAX_ADDRESSES + 1)
        _need(isinstance(addresses, list), "PEERS is no list")
        return cls(channel, tuple(_expand(address) for address in addresses))


def _compact(address: Address) -> bytes:
    """6 (IPv4, BEP 5) or 18 (IPv6, BEP 32) bytes."""
    host, port = address
    if not 0 < port < 65536:
        raise ValueError(f"port {port} is out of range")
    return ip_address(host.partition("%")[0]).packed + port.to_bytes(2)


def _expand(compact: object) -> Address:
    if not isinstance(compact, bytes) or len(compact) not in (6, 18) or compact[-2:] == b"\0\0":
        raise ProtocolViolation("Peer message: PEERS holds something that is no address")
    host = IPv4Address(compact[:4]) if len(compact) == 6 else IPv6Address(compact[:16])
    return str(host), int.from_bytes(compact[-2:])


@dataclass(frozen=True, slots=True)
class Ping:
    """Keepalive; answered by PONG with the same eight bytes."""

    TYPE: ClassVar[int] = 0x11
    MAX_BODY_BYTES: ClassVar[int] = PING_BYTES

    token: bytes

    def body(self) -> bytes:
        if len(self.token) != PING_BYTES:
            raise ValueError(f"a token has {PING_BYTES} bytes")
        return self.token

    @classmethod
    def parse(cls, body: Buffer) -> Ping:
        _need(len(body) == PING_BYTES, "PING of wrong length")
        return cls(bytes(body))


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to PING."""

    TYPE: ClassVar[int] = 0x12
    MAX_BODY_BYTES: ClassVar[int] = PING_BYTES

    token: bytes

    def body(self) -> bytes:
        if len(self.token) != PING_BYTES:
            raise ValueError(f"a token has {PING_BYTES} bytes")
        return self.token

    @classmethod
    def parse(cls, body: Buffer) -> Pong:
        _need(len(body) == PING_BYTES, "PONG of wrong length")
        return cls(bytes(body))


@dataclass(frozen=True, slots=True)
class Bye:
    """Last message: why the sender closes (a BYE_ number) and a text for people."""

    TYPE: ClassVar[int] = 0x13
    MAX_BODY_BYTES: ClassVar[int] = 1 + MAX_BYE_TEXT_BYTES

    reason: int = BYE_DONE
    text: str = ""

    def body(self) -> bytes:
        text = self.text.encode()[:MAX_BYE_TEXT_BYTES].decode("utf-8", "ignore").encode()
        return bytes([self.reason]) + text

    @classmethod
    def parse(cls, body: Buffer) -> Bye:
        _need(len(body) > 0, "BYE without a reason")
        return cls(body[0], _printable(bytes(body[1:])))


@dataclass(frozen=True, slots=True)
class Proof:
    """Bencoded [first, second, evidence]: signed statements of the app that contradict each other."""

    TYPE: ClassVar[int] = 0x14
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + MAX_PROOF_BYTES

    channel: int
    proof: bytes

    def body(self) -> bytes:
        return _U32.pack(self.channel) + self.proof

    @classmethod
    def parse(cls, body: Buffer) -> Proof:
        return cls(_channel_of(body), bytes(body[CHANNEL_BYTES:]))


Message: TypeAlias = (
    Hello
    | Join
    | Leave
    | Timestamp
    | GetMetadata
    | Metadata
    | HaveAll
    | Bitfield
    | Have
    | Request
    | AnyBlocks
    | Promise
    | Block
    | Cancel
    | Refuse
    | Peers
    | Ping
    | Pong
    | Bye
    | Proof
)

MESSAGE_CLASSES: tuple[type[Message], ...] = get_args(Message)
_BY_TYPE: dict[int, type[Message]] = {cls.TYPE: cls for cls in MESSAGE_CLASSES}


def check_header(header: int) -> tuple[int, int]:
    """(type, body length) of a header. Raises ProtocolViolation: unknown type, LimitExceeded: too long."""
    type_, length = header >> 24, header & 0xFFFFFF
    cls = _BY_TYPE.get(type_)
    if cls is None:
        raise ProtocolViolation(f"Peer message of unknown type {type_:#04x}")
    if length > cls.MAX_BODY_BYTES:
        raise LimitExceeded(
            f"{cls.__name__} message of {length} bytes; at most {cls.MAX_BODY_BYTES} are allowed"
        )
    return type_, length


def decode(type_: int, body: Buffer) -> Message:
    """The message in a body whose header passed `check_header`. Raises ProtocolViolation or LimitExceeded."""
    check_header(type_ << 24 | len(body))
    return _BY_TYPE[type_].parse(body)


def encode(message: Message) -> bytes:
    """Header and body. Raises ValueError for a message that no peer would accept."""
    body = message.body()
    return encode_header(message.TYPE, len(body)) + body


def encode_header(type_: int, body_bytes: int) -> bytes:
    """The four header bytes. Raises ValueError past the type's cap."""
    if body_bytes > _BY_TYPE[type_].MAX_BODY_BYTES:
        raise ValueError(f"{_BY_TYPE[type_].__name__}: body of {body_bytes} bytes is over its cap")
    return _U32.pack(type_ << 24 | body_bytes)
