"""Pieces of message bodies, and the shapes that several messages share.

What is read raises ProtocolViolation where no peer may send it, what is written ValueError where it is ours.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import ClassVar, Self, TypeAlias

from pearrt.errors import ProtocolViolation

Address: TypeAlias = tuple[str, int]
Buffer: TypeAlias = bytes | bytearray | memoryview

ID_BYTES = 32
CHANNEL_BYTES = 4
MAX_ORDINALS = 1024
PING_BYTES = 8

U32 = struct.Struct(">I")
CHANNEL_REF = struct.Struct(">II")


def need(condition: bool, what: str) -> None:
    if not condition:
        raise ProtocolViolation(f"Peer message: {what}")


def channel_of(body: Buffer) -> int:
    need(len(body) >= CHANNEL_BYTES, "no room for the channel")
    return int.from_bytes(body[:CHANNEL_BYTES])


def ids_of(body: Buffer) -> tuple[bytes, ...]:
    need(len(body) > 0 and len(body) % ID_BYTES == 0, "no whole number of ids")
    return tuple(bytes(body[at : at + ID_BYTES]) for at in range(0, len(body), ID_BYTES))


def join_ids(ids: Sequence[bytes], most: int) -> bytes:
    if not 0 < len(ids) <= most or any(len(id_) != ID_BYTES for id_ in ids):
        raise ValueError(f"1 to {most} ids of {ID_BYTES} bytes are needed")
    return b"".join(ids)


def ordinals_of(body: Buffer) -> tuple[int, ...]:
    need(len(body) % 4 == 0, "no whole number of ordinals")
    return struct.unpack(f">{len(body) // 4}I", body)


def join_ordinals(ordinals: Sequence[int], least: int) -> bytes:
    if not least <= len(ordinals) <= MAX_ORDINALS:
        raise ValueError(f"{least} to {MAX_ORDINALS} ordinals are needed")
    return struct.pack(f">{len(ordinals)}I", *ordinals)


def printable(text: bytes) -> str:
    """Text of a peer as it may be shown: undecodable bytes and control characters become U+FFFD."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text.decode("utf-8", "replace"))


def compact(address: Address) -> bytes:
    """6 (IPv4, BEP 5) or 18 (IPv6, BEP 32) bytes."""
    host, port = address
    if not 0 < port < 65536:
        raise ValueError(f"port {port} is out of range")
    return ip_address(host.partition("%")[0]).packed + port.to_bytes(2)


def expand(packed: object) -> Address:
    if not isinstance(packed, bytes) or len(packed) not in (6, 18) or packed[-2:] == b"\0\0":
        raise ProtocolViolation("Peer message: PEERS holds something that is no address")
    host = IPv4Address(packed[:4]) if len(packed) == 6 else IPv6Address(packed[:16])
    return str(host), int.from_bytes(packed[-2:])


@dataclass(frozen=True, slots=True)
class Token:
    """Eight bytes that come back as they were."""

    token: bytes

    def body(self) -> bytes:
        if len(self.token) != PING_BYTES:
            raise ValueError(f"a token has {PING_BYTES} bytes")
        return self.token

    @classmethod
    def parse(cls, body: Buffer) -> Self:
        need(len(body) == PING_BYTES, f"{cls.__name__.upper()} of wrong length")
        return cls(bytes(body))


@dataclass(frozen=True, slots=True)
class AppBytes:
    """Bytes that belong to one app: signed metadata, a proof, what an app says."""

    channel: int
    data: bytes

    def body(self) -> bytes:
        return U32.pack(self.channel) + self.data

    @classmethod
    def parse(cls, body: Buffer) -> Self:
        return cls(channel_of(body), bytes(body[CHANNEL_BYTES:]))


@dataclass(frozen=True, slots=True)
class BlockIds:
    """Ids of blocks of one app, 1 to MOST of them."""

    MOST: ClassVar[int]

    channel: int
    ids: tuple[bytes, ...]

    def body(self) -> bytes:
        return U32.pack(self.channel) + join_ids(self.ids, self.MOST)

    @classmethod
    def parse(cls, body: Buffer) -> Self:
        return cls(channel_of(body), ids_of(body[CHANNEL_BYTES:]))


@dataclass(frozen=True, slots=True)
class Ordinals:
    """Blocks of one index by ordinal, LEAST to MAX_ORDINALS of them."""

    LEAST: ClassVar[int]

    channel: int
    ref: int
    ordinals: tuple[int, ...]

    def body(self) -> bytes:
        return CHANNEL_REF.pack(self.channel, self.ref) + join_ordinals(self.ordinals, self.LEAST)

    @classmethod
    def parse(cls, body: Buffer) -> Self:
        least = CHANNEL_REF.size + 4 * cls.LEAST
        need(len(body) >= least, f"{cls.__name__.upper()} of wrong length")
        channel, ref = CHANNEL_REF.unpack_from(body)
        return cls(channel, ref, ordinals_of(body[CHANNEL_REF.size :]))
