"""What a peer says of itself by mDNS (RFC 6762, RFC 6763), and what is believed of it. Pure.

Service type `_pearrt._tcp`; the instance is random per start, the TXT record holds the protocol version and
nothing else: no app, no topic, no name of a person or machine. Whoever finds a peer connects, and both prove
the topics they share. So a listener on the LAN learns that pearrt runs at an address, no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address

Address = tuple[str, int]

SERVICE_TYPE = "_pearrt._tcp.local."
VERSION_KEY = b"v"
VERSION = b"1"
MAX_NEIGHBOURS = 512
MAX_ADDRESSES_EACH = 8


def instance_name(random_bytes: bytes) -> str:
    """The full name of an instance; 8 random bytes are plenty."""
    return f"{random_bytes.hex()}.{SERVICE_TYPE}"


def usable_addresses(
    hosts: Iterable[str], port: int | None, properties: Mapping[bytes, bytes | None]
) -> tuple[Address, ...]:
    """Where a neighbour can be dialled; none for another protocol version or what only nonsense could say."""
    if properties.get(VERSION_KEY) != VERSION or port is None or not 0 < port < 65536:
        return ()
    result: list[Address] = []
    for host in hosts:
        try:
            ip = ip_address(host.partition("%")[0])
        except ValueError:
            continue
        if ip.is_multicast or ip.is_unspecified or (ip.is_link_local and ip.version == 6 and "%" not in host):
            continue
        result.append((host, port))
    return tuple(result[:MAX_ADDRESSES_EACH])


class Neighbours:
    """The instances heard of, bounded: while it is full, newcomers are not taken in."""

    def __init__(self) -> None:
        self._by_name: dict[str, tuple[Address, ...]] = {}

    def heard(self, name: str, addresses: tuple[Address, ...]) -> list[Address]:
        """An instance is there; the addresses that are news."""
        known = self._by_name.get(name)
        if not addresses or (known is None and len(self._by_name) >= MAX_NEIGHBOURS):
            return []
        self._by_name[name] = addresses
        return [address for address in addresses if known is None or address not in known]

    def gone(self, name: str) -> None:
        self._by_name.pop(name, None)

    @property
    def addresses(self) -> list[Address]:
        """All addresses of all neighbours, each once."""
        return list(dict.fromkeys(a for addresses in self._by_name.values() for a in addresses))
