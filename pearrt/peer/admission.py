"""Who may still connect: bounds on inbound connections, in total and per address.

An address is one IPv4 address or one IPv6 /64, which is what a single subscriber has. A connection that
speaks HTTP counts against the HTTP bounds too, so that mirrors' clients cannot crowd out peers.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, ip_address

from pearrt.peer.limits import PeerLimits


def subscriber(host: str) -> bytes:
    """The bytes that stand for a host's subscriber: 4 of IPv4 (mapped ones too), the first 8 of IPv6."""
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv4Address):
        return address.packed
    mapped = address.ipv4_mapped
    return mapped.packed if mapped else address.packed[:8]


class Admission:
    """Counts connections; every `admit` that said yes is followed by one `release`."""

    __slots__ = ("_max", "_per_address", "_per_address_max")

    def __init__(self, limits: PeerLimits) -> None:
        self._max = (limits.max_connections, limits.max_http_connections)
        self._per_address_max = (
            limits.max_connections_per_address,
            limits.max_http_connections_per_address,
        )
        self._per_address: tuple[Counter[bytes], Counter[bytes]] = (Counter(), Counter())

    def admit(self, host: str, *, http: bool = False) -> bool:
        """Whether one more connection of this host is welcome; if so it is counted."""
        counts = self._per_address[http]
        key = subscriber(host)
        if counts.total() >= self._max[http] or counts[key] >= self._per_address_max[http]:
            return False
        counts[key] += 1
        return True

    def release(self, host: str, *, http: bool = False) -> None:
        """One connection of this host has ended."""
        counts = self._per_address[http]
        key = subscriber(host)
        counts[key] -= 1
        if counts[key] <= 0:
            del counts[key]
