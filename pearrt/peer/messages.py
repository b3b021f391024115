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

from dataclasses import dataclass
from typing import ClassVar, TypeAlias, get_args

from pearrt.codec import bencode
from pearrt.errors import LimitExceeded, ProtocolViolation
from pearrt.peer.bodies import (
    CHANNEL_BYTES,
    CHANNEL_REF,
    ID_BYTES,
    MAX_ORDINALS,
    PING_BYTES,
    U32,
    Address,
    AppBytes,
    BlockIds,
    Buffer,
    Ordinals,
    Token,
    channel_of,
    compact,
    expand,
    ids_of,
    join_ids,
    need,
    printable,
)

PROTOCOL_VERSION = 1
HEADER_BYTES = 4
MAX_AGENT_BYTES = 64
MAX_PROOFS = 256
MAX_TIMESTAMP_BYTES = 4096
MAX_METADATA_BYTES = 1 << 20
MAX_PROOF_BYTES = (1 << 19) + 4096  # two targets metadata and what shows that they part
MAX_BITFIELD_BYTES = 1 << 18
MAX_REQUEST_IDS = 64
MAX_CANCEL_IDS = 256
MAX_BLOCK_BYTES = 1 << 18
MAX_ADDRESSES = 50
MAX_BYE_TEXT_BYTES = 200
MAX_APP_MESSAGE_BYTES = 16 * 1024

NOT_FOUND, BUSY, LIMIT = 1, 2, 3  # reasons of REFUSE

BYE_DONE = 0  # reasons of BYE: nothing more to do here
BYE_SHUTDOWN = 1  # the peer's process is ending
BYE_DUPLICATE = 2  # another connection to the same peer is kept
BYE_IDLE = 3  # no common app, or nothing heard for too long
BYE_LIMIT = 4  # no room for more connections
BYE_VIOLATION = 5  # the other side broke the rules


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
        need(isinstance(fields, dict), "HELLO is no dictionary")
        agent, port, version = fields.get(b"agent"), fields.get(b"port"), fields.get(b"v")
        need(isinstance(version, int) and version >= 1, "HELLO without a version")
        need(isinstance(port, int) and 0 <= port < 65536, "HELLO with a bad port")
        need(isinstance(agent, bytes) and len(agent) <= MAX_AGENT_BYTES, "HELLO with a bad agent")
        return cls(printable(agent), port, version)


@dataclass(frozen=True, slots=True)
class Join:
    """The sender is here for the apps whose topics prove to these values (`topic.join_proof`)."""

    TYPE: ClassVar[int] = 0x02
    MAX_BODY_BYTES: ClassVar[int] = 1 + MAX_PROOFS * ID_BYTES

    proofs: tuple[bytes, ...]
    flags: int = 0

    def body(self) -> bytes:
        return bytes([self.flags]) + join_ids(self.proofs, MAX_PROOFS)

    @classmethod
    def parse(cls, body: Buffer) -> Join:
        need(len(body) > 1, "JOIN without proofs")
        return cls(ids_of(body[1:]), body[0])


@dataclass(frozen=True, slots=True)
class Leave:
    """The sender is no longer here for this app."""

    TYPE: ClassVar[int] = 0x03
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES

    channel: int

    def body(self) -> bytes:
        return U32.pack(self.channel)

    @classmethod
    def parse(cls, body: Buffer) -> Leave:
        return cls(channel_of(body))


@dataclass(frozen=True, slots=True)
class Timestamp(AppBytes):
    """The newest timestamp metadata the sender trusts (TUF spec 1.0.34, section 4.6), as signed bytes."""

    TYPE: ClassVar[int] = 0x04
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + MAX_TIMESTAMP_BYTES


@dataclass(frozen=True, slots=True)
class GetMetadata:
    """Asks for METADATA whose roots begin with version `first_root`."""

    TYPE: ClassVar[int] = 0x05
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + 4

    channel: int
    first_root: int

    def body(self) -> bytes:
        return CHANNEL_REF.pack(self.channel, self.first_root)

    @classmethod
    def parse(cls, body: Buffer) -> GetMetadata:
        need(len(body) == CHANNEL_REF.size, "GET_METADATA of wrong length")
        return cls(*CHANNEL_REF.unpack(body))


@dataclass(frozen=True, slots=True)
class Metadata(AppBytes):
    """A bencoded metadata set (`pearrt.trust.metadata_set`); empty where the sender trusts nothing yet."""

    TYPE: ClassVar[int] = 0x06
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + MAX_METADATA_BYTES


@dataclass(frozen=True, slots=True)
class HaveAll:
    """The sender holds every block of the index with this digest."""

    TYPE: ClassVar[int] = 0x07
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + ID_BYTES

    channel: int
    index_digest: bytes

    def body(self) -> bytes:
        return U32.pack(self.channel) + join_ids([self.index_digest], 1)

    @classmethod
    def parse(cls, body: Buffer) -> HaveAll:
        need(len(body) == cls.MAX_BODY_BYTES, "HAVE_ALL of wrong length")
        return cls(channel_of(body), bytes(body[CHANNEL_BYTES:]))


@dataclass(frozen=True, slots=True)
class Bitfield:
    """Which blocks of the index the sender holds; ordinal 0 is the top bit of byte 0, spare bits are zero."""

    TYPE: ClassVar[int] = 0x08
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + ID_BYTES + MAX_BITFIELD_BYTES

    channel: int
    index_digest: bytes
    bits: bytes

    def body(self) -> bytes:
        return U32.pack(self.channel) + join_ids([self.index_digest], 1) + self.bits

    @classmethod
    def parse(cls, body: Buffer) -> Bitfield:
        need(len(body) > CHANNEL_BYTES + ID_BYTES, "BITFIELD without bits")
        digest_end = CHANNEL_BYTES + ID_BYTES
        return cls(channel_of(body), bytes(body[CHANNEL_BYTES:digest_end]), bytes(body[digest_end:]))


@dataclass(frozen=True, slots=True)
class Have(Ordinals):
    """The sender now also holds these blocks."""

    TYPE: ClassVar[int] = 0x09
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + 4 + 4 * MAX_ORDINALS
    LEAST: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Request(BlockIds):
    """Asks for blocks of any bundle of the app, an index's own blocks included."""

    TYPE: ClassVar[int] = 0x0A
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + MAX_REQUEST_IDS * ID_BYTES
    MOST: ClassVar[int] = MAX_REQUEST_IDS


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
        return CHANNEL_REF.pack(self.channel, self.ref) + bytes([self.count])

    @classmethod
    def parse(cls, body: Buffer) -> AnyBlocks:
        need(len(body) == cls.MAX_BODY_BYTES and body[-1] > 0, "ANY of wrong length or for nothing")
        channel, ref = CHANNEL_REF.unpack_from(body)
        return cls(channel, ref, body[-1])


@dataclass(frozen=True, slots=True)
class Promise(Ordinals):
    """The answer to ANY, before the blocks: these will come unless cancelled. Empty = nothing to give."""

    TYPE: ClassVar[int] = 0x0C
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + 4 + 4 * MAX_ORDINALS
    LEAST: ClassVar[int] = 0


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
        return encode_header(self.TYPE, ID_BYTES + len(self.data)) + join_ids([self.id], 1)

    def body(self) -> bytes:
        return join_ids([self.id], 1) + self.data

    @classmethod
    def parse(cls, body: Buffer) -> Block:
        need(len(body) > ID_BYTES, "BLOCK without data")
        view = memoryview(body)
        return cls(bytes(view[:ID_BYTES]), view[ID_BYTES:])


@dataclass(frozen=True, slots=True)
class Cancel(BlockIds):
    """These blocks, requested or promised, are no longer wanted; one already on its way may still arrive."""

    TYPE: ClassVar[int] = 0x0E
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + MAX_CANCEL_IDS * ID_BYTES
    MOST: ClassVar[int] = MAX_CANCEL_IDS


@dataclass(frozen=True, slots=True)
class Refuse:
    """These requested blocks will not come; `reason` is NOT_FOUND, BUSY or LIMIT."""

    TYPE: ClassVar[int] = 0x0F
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + 1 + MAX_REQUEST_IDS * ID_BYTES

    channel: int
    reason: int
    ids: tuple[bytes, ...]

    def body(self) -> bytes:
        return U32.pack(self.channel) + bytes([self.reason]) + join_ids(self.ids, MAX_REQUEST_IDS)

    @classmethod
    def parse(cls, body: Buffer) -> Refuse:
        need(len(body) > CHANNEL_BYTES, "REFUSE without a reason")
        return cls(channel_of(body), body[CHANNEL_BYTES], ids_of(body[CHANNEL_BYTES + 1 :]))


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
        return U32.pack(self.channel) + bencode.encode([compact(address) for address in self.addresses])

    @classmethod
    def parse(cls, body: Buffer) -> Peers:
        channel = channel_of(body)
        addresses = bencode.decode(bytes(body[CHANNEL_BYTES:]), max_depth=1, max_items=MAX_ADDRESSES + 1)
        need(isinstance(addresses, list), "PEERS is no list")
        return cls(channel, tuple(expand(address) for address in addresses))


@dataclass(frozen=True, slots=True)
class Ping(Token):
    """Keepalive; answered by PONG with the same eight bytes."""

    TYPE: ClassVar[int] = 0x11
    MAX_BODY_BYTES: ClassVar[int] = PING_BYTES


@dataclass(frozen=True, slots=True)
class Pong(Token):
    """The answer to PING."""

    TYPE: ClassVar[int] = 0x12
    MAX_BODY_BYTES: ClassVar[int] = PING_BYTES


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
        need(len(body) > 0, "BYE without a reason")
        return cls(body[0], printable(bytes(body[1:])))


@dataclass(frozen=True, slots=True)
class Proof(AppBytes):
    """Bencoded [first, second, evidence]: signed statements of the app that contradict each other."""

    TYPE: ClassVar[int] = 0x14
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + MAX_PROOF_BYTES


@dataclass(frozen=True, slots=True)
class AppMessage(AppBytes):
    """What an app says to the same app at the other end, in the channel of a circle that both joined."""

    TYPE: ClassVar[int] = 0x15
    MAX_BODY_BYTES: ClassVar[int] = CHANNEL_BYTES + MAX_APP_MESSAGE_BYTES


Message: TypeAlias = (
    Hello | Join | Leave | Timestamp | GetMetadata | Metadata | HaveAll | Bitfield | Have | Request
    | AnyBlocks | Promise | Block | Cancel | Refuse | Peers | Ping | Pong | Bye | Proof | AppMessage
)  # fmt: skip

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
    return U32.pack(type_ << 24 | body_bytes)
