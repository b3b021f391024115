"""Who may still connect: bounds on inbound connections, at once and per time, in total and per address.

An address is one IPv4 address or one IPv6 /64, which is what a single subscriber has. A connection that
speaks HTTP counts against the HTTP bounds too, so that mirrors' clients cannot crowd out peers. New
connections of an address are rationed (a token bucket): a handshake costs about half a millisecond, and
whoever hangs up at once would otherwise be given the next.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from ipaddress import IPv4Address, ip_address

from pearrt.peer.limits import PeerLimits

MAX_REMEMBERED = 4096


def subscriber(host: str) -> bytes:
    """The bytes that stand for a host's subscriber: 4 of IPv4 (mapped ones too), the first 8 of IPv6."""
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv4Address):
        return address.packed
    mapped = address.ipv4_mapped
    return mapped.packed if mapped else address.packed[:8]


class Admission:
    """Counts connections; every `admit` that said yes is followed by one `release`."""

    __slots__ = ("_burst", "_max", "_per_address", "_per_address_max", "_rate", "_rations")

    def __init__(self, limits: PeerLimits) -> None:
        self._max = (limits.max_connections, limits.max_http_connections)
        self._per_address_max = (
            limits.max_connections_per_address,
            limits.max_http_connections_per_address,
        )
        self._per_address: tuple[Counter[bytes], Counter[bytes]] = (Counter(), Counter())
        self._rate = limits.connections_per_s_and_address
        self._burst = float(limits.connection_burst_per_address)
        self._rations: OrderedDict[bytes, tuple[float, float]] = OrderedDict()  # left, as of when

    def admit(self, host: str, now: float) -> bool:
        """Whether one more connection of this host is welcome; if so it is counted."""
        return self._ration(subscriber(host), now) and self._count(host, http=False)

    def admit_http(self, host: str) -> bool:
        """Whether a connection that was admitted may speak HTTP; if so it is counted as such as well."""
        return self._count(host, http=True)

    def _count(self, host: str, *, http: bool) -> bool:
        counts = self._per_address[http]
        key = subscriber(host)
        if counts.total() >= self._max[http] or counts[key] >= self._per_address_max[http]:
            return False
        counts[key] += 1
        return True

    def _ration(self, key: bytes, now: float) -> bool:
        left, since = self._rations.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        admitted = left >= 1
        self._rations[key] = (left - 1 if admitted else left, now)
        if len(self._rations) > MAX_REMEMBERED:
            self._rations.popitem(last=False)  # the longest unseen: it would soon have its full ration anyway
        return admitted

    def release(self, host: str, *, http: bool = False) -> None:
        """One connection of this host has ended."""
        counts = self._per_address[http]
        key = subscriber(host)
        counts[key] -= 1
        if counts[key] <= 0:
            del counts[key]
