"""Stored items (BEP 44): immutable ones named by their hash, mutable ones named by a key and signed.

    immutable target = SHA-1(bencoded v)            mutable target = SHA-1(public key + salt)
    signed text      = ["4:salt" <salt>] "3:seq" i<seq>e "1:v" <bencoded v>      (Ed25519)

Rules: v <= 1,000 bytes bencoded, salt <= 64 bytes, seq from 0 to 2^63 - 1. seq never falls; an equal seq with
another value is refused like a lower one; `cas` must name the stored seq. An item that breaks a rule is
refused with the BEP's error code.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pearrt.codec import bencode
from pearrt.crypto import ed25519
from pearrt.dht.node_id import distance
from pearrt.errors import LimitExceeded, ProtocolViolation, UserError

MAX_VALUE_BYTES = 1000
MAX_SALT_BYTES = 64
MAX_SEQ = 2**63 - 1
KEY_BYTES = 32
SIGNATURE_BYTES = 64


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


@dataclass(frozen=True, slots=True)
class ImmutableItem:
    """A value under its own hash. `encoded` is the bencoded value."""

    encoded: bytes

    @property
    def target(self) -> bytes:
        """SHA-1 of the bencoded value, 20 bytes."""
        return _sha1(self.encoded)

    @property
    def value(self) -> bytes:
        """The byte string that was put; of an item that other software stored as list, dict or int, its
        bencoding."""
        return _value_bytes(self.encoded)


@dataclass(frozen=True, slots=True)
class MutableItem:
    """A signed value under a key. `encoded` is the bencoded value; nothing here says that the signature
    holds."""

    public_key: bytes
    salt: bytes
    seq: int
    encoded: bytes
    signature: bytes

    @property
    def target(self) -> bytes:
        """SHA-1 of public key and salt, 20 bytes."""
        return mutable_target(self.public_key, self.salt)

    @property
    def value(self) -> bytes:
        """The byte string that was put; of an item that other software stored as list, dict or int, its
        bencoding."""
        return _value_bytes(self.encoded)

    def verifies(self) -> bool:
        """Whether the signature is the key's over salt, seq and value."""
        return ed25519.verify(self.public_key, signed_text(self.salt, self.seq, self.encoded), self.signature)


Item = ImmutableItem | MutableItem


def _value_bytes(encoded: bytes) -> bytes:
    value = bencode.decode(encoded, strict=False)
    return value if isinstance(value, bytes) else encoded


def mutable_target(public_key: bytes, salt: bytes = b"") -> bytes:
    """Where a mutable item lives."""
    return _sha1(public_key + salt)


def signed_text(salt: bytes, seq: int, encoded: bytes) -> bytes:
    """The bytes that BEP 44 has signed."""
    head = b"4:salt%d:%b" % (len(salt), salt) if salt else b""
    return head + b"3:seqi%de1:v" % seq + encoded


def immutable_item(value: bytes) -> ImmutableItem:
    """The item for `value`. Raises UserError when it is too long."""
    encoded = bencode.encode(value)
    check_own(encoded, b"", 0)
    return ImmutableItem(encoded)


def sign_item(seed: bytes, value: bytes, *, salt: bytes, seq: int) -> MutableItem:
    """The mutable item for `value`, signed with the 32-byte Ed25519 `seed`. Raises UserError past a bound."""
    encoded = bencode.encode(value)
    check_own(encoded, salt, seq)
    signature = ed25519.sign(seed, signed_text(salt, seq, encoded))
    return MutableItem(ed25519.public_key(seed), salt, seq, encoded, signature)


def check_own(encoded: bytes, salt: bytes, seq: int) -> None:
    """Raises UserError for an item of ours past a bound."""
    if len(encoded) > MAX_VALUE_BYTES:
        raise UserError(
            f"A DHT item holds at most {MAX_VALUE_BYTES} bytes with its encoding; this has {len(encoded)}."
        )
    if len(salt) > MAX_SALT_BYTES:
        raise UserError(f"A salt has at most {MAX_SALT_BYTES} bytes; this has {len(salt)}.")
    if not 0 <= seq <= MAX_SEQ:
        raise UserError(f"The sequence number {seq} is not between 0 and 2^63 - 1.")


def check_bounds(encoded: bytes, salt: bytes, seq: int) -> None:
    """Raises LimitExceeded or ProtocolViolation for a foreign item past a bound."""
    if len(encoded) > MAX_VALUE_BYTES:
        raise LimitExceeded(f"dht item: value of {len(encoded)} bytes")
    if len(salt) > MAX_SALT_BYTES:
        raise LimitExceeded(f"dht item: salt of {len(salt)} bytes")
    if not 0 <= seq <= MAX_SEQ:
        raise ProtocolViolation("dht item: sequence number out of range")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a put was refused: BEP 44's error code and text."""

    code: int
    text: str


BAD_SIGNATURE = Refusal(206, "invalid signature")
CAS_MISMATCH = Refusal(301, "the CAS hash mismatched, re-read value and try again")
OLD_SEQ = Refusal(302, "sequence number less than current")


class ItemTable:
    """The items this node stores for others. When full, the item farthest from `own_id` gives way."""

    __slots__ = ("_items", "_lifetime_s", "_max_items", "own_id")

    def __init__(self, own_id: bytes, *, max_items: int, lifetime_s: float) -> None:
        self.own_id = own_id
        self._max_items = max_items
        self._lifetime_s = lifetime_s
        self._items: dict[bytes, tuple[Item, float]] = {}

    def get(self, target: bytes, now: float) -> Item | None:
        """The live item under `target`."""
        item, until = self._items.get(target, (None, 0.0))
        return item if until > now else None

    def put(self, item: Item, now: float, *, cas: int | None = None) -> Refusal | None:
        """Stores `item`, whose bounds were checked, or says why not. The signature is verified here."""
        target = item.target
        if isinstance(item, MutableItem):
            held = self.get(target, now)
            if isinstance(held, MutableItem) and (refusal := _conflict(held, item, cas)):
                return refusal
            if item != held and not item.verifies():
                return BAD_SIGNATURE
        if target not in self._items and len(self._items) >= self._max_items:
            self._make_room(now)
        self._items[target] = (item, now + self._lifetime_s)
        return None

    def _make_room(self, now: float) -> None:
        self.expire(now)
        if len(self._items) >= self._max_items:
            del self._items[max(self._items, key=lambda target: distance(target, self.own_id))]

    def expire(self, now: float) -> None:
        """Drops every item whose time is over."""
        self._items = {target: entry for target, entry in self._items.items() if entry[1] > now}

    def __len__(self) -> int:
        return len(self._items)


def _conflict(held: MutableItem, new: MutableItem, cas: int | None) -> Refusal | None:
    if cas is not None and cas != held.seq:
        return CAS_MISMATCH
    if new.seq < held.seq or (new.seq == held.seq and new.encoded != held.encoded):
        return OLD_SEQ
    return None
