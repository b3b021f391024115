"""Addresses and contacts, and their compact forms.

An address is an (IP literal, port) pair; the literal is in the one spelling this module produces, so that
equal addresses compare equal. A contact is a node id with the address it answers at. Compact forms (BEP 5,
BEP 32): an address is 6 (IPv4) or 18 (IPv6) bytes, a contact is its 20-byte id followed by its address.

Rules for foreign addresses: port 0, unspecified, multicast, broadcast and link-local addresses are never
used; loopback and private ones only when a node on such a network told us of them. Within one lookup, bucket
or set of stores a public network prefix (/24 of IPv4, /48 of IPv6) may hold only a few places; local networks
are exempt.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import NamedTuple, TypeAlias

Address: TypeAlias = tuple[str, int]

ID_BYTES = 20


class Family(Enum):
    """An address family with the sizes and key names that BEP 5 and BEP 32 give it."""

    V4 = (4, b"nodes", b"n4")
    V6 = (6, b"nodes6", b"n6")

    def __init__(self, version: int, nodes_key: bytes, want: bytes) -> None:
        self.version = version
        self.nodes_key = nodes_key
        self.want = want
        self.address_bytes = 6 if version == 4 else 18
        self.contact_bytes = ID_BYTES + self.address_bytes


class Scope(Enum):
    """How far an address reaches, as far as a DHT node cares."""

    UNUSABLE = 0
    LOOPBACK = 1
    PRIVATE = 2
    PUBLIC = 3


class Contact(NamedTuple):
    """A node id (20 bytes) and the address it answers at. A tuple, because lookups make thousands of them."""

    node_id: bytes
    address: Address


@lru_cache(maxsize=8192)
def scope_of(host: str) -> Scope:
    """How far the IP literal `host` reaches; anything unparsable is UNUSABLE."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return Scope.UNUSABLE
    if ip.is_loopback:
        return Scope.LOOPBACK
    if ip.is_multicast or ip.is_unspecified or ip.is_link_local or ip.is_reserved:
        return Scope.UNUSABLE
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return Scope.UNUSABLE
    return Scope.PUBLIC if ip.is_global else Scope.PRIVATE


@lru_cache(maxsize=8192)
def prefix_of(host: str) -> bytes | None:
    """The public network that `host` belongs to (/24 or /48), or None for local networks, which are
    exempt."""
    if scope_of(host) is not Scope.PUBLIC:
        return None
    packed = ipaddress.ip_address(host).packed
    return packed[:3] if len(packed) == 4 else packed[:6]


def usable(address: Address, source: str) -> bool:
    """Whether an address that the node at `source` told us of may be contacted or handed on."""
    host, port = address
    scope = scope_of(host)
    if port == 0 or scope is Scope.UNUSABLE:
        return False
    return scope is Scope.PUBLIC or scope_of(source) in (Scope.LOOPBACK, Scope.PRIVATE)


@lru_cache(maxsize=8192)
def pack_address(address: Address) -> bytes:
    """6 or 18 bytes: the IP address and the port, big-endian. Raises ValueError for a host that is no IP
    literal."""
    return ipaddress.ip_address(address[0]).packed + address[1].to_bytes(2)


@lru_cache(maxsize=8192)
def unpack_address(data: bytes) -> Address:
    """The address in 6 or 18 bytes. Raises ValueError for any other length."""
    if len(data) not in (6, 18):
        raise ValueError("a compact address has 6 or 18 bytes")
    return str(ipaddress.ip_address(data[:-2])), int.from_bytes(data[-2:])


def pack_contacts(contacts: Iterable[Contact]) -> bytes:
    """The contacts end to end; all must be of one family."""
    return b"".join([node_id + pack_address(address) for node_id, address in contacts])


def unpack_contacts(data: bytes, family: Family) -> list[Contact]:
    """The contacts in `data`. Raises ValueError unless its length is a multiple of the contact's."""
    size = family.contact_bytes
    if len(data) % size:
        raise ValueError(f"compact nodes of {len(data)} bytes are no multiple of {size}")
    return [_unpack_contact(data[start : start + size]) for start in range(0, len(data), size)]


@lru_cache(maxsize=8192)
def _unpack_contact(data: bytes) -> Contact:
    return Contact(data[:ID_BYTES], unpack_address(data[ID_BYTES:]))


class PrefixLimit:
    """Counts places per public network prefix, so that one network cannot fill a set of contacts (Sybil)."""

    __slots__ = ("_counts", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._counts: dict[bytes, int] = {}

    def admit(self, host: str) -> bool:
        """Takes a place for `host` if its prefix still has one."""
        prefix = prefix_of(host)
        if prefix is None:
            return True
        count = self._counts.get(prefix, 0)
        if count >= self.limit:
            return False
        self._counts[prefix] = count + 1
        return True

    def release(self, host: str) -> None:
        """Gives a place back."""
        prefix = prefix_of(host)
        if prefix is not None and self._counts.get(prefix, 0) > 0:
            self._counts[prefix] -= 1
            if not self._counts[prefix]:
                del self._counts[prefix]
