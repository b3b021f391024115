"""Where peers of a topic may be found: the interface, and the finders that need nothing but what they are
given.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol, runtime_checkable

from pearrt.link import dht_topic
from pearrt.swarm.dialer import Origin
from pearrt.swarm.scope import Address


@runtime_checkable
class PeerFinder(Protocol):
    """Names addresses where peers of a topic may listen. Hints: who answers there still has to prove the
    topic.
    """

    def find(self, topic: bytes) -> AsyncIterator[Address]:
        """Addresses as they come in, then ends; or goes on for ever where news keeps coming (mDNS)."""

    async def announce(self, topic: bytes, port: int) -> int:
        """Tells others that this host's peer port serves the topic; in how many places."""


class Dht(Protocol):
    """What of `DhtService` is needed here."""

    def get_peers(self, topic20: bytes) -> AsyncIterator[Address]: ...

    async def announce(self, topic20: bytes, port: int) -> int: ...


class DhtFinder:
    """Peers by the DHT, under the first 20 bytes of the topic (BEP 5)."""

    origin = Origin.DHT

    def __init__(self, dht: Dht) -> None:
        self._dht = dht

    def find(self, topic: bytes) -> AsyncIterator[Address]:
        return self._dht.get_peers(dht_topic(topic))

    async def announce(self, topic: bytes, port: int) -> int:
        return await self._dht.announce(dht_topic(topic), port)


class CachedFinder:
    """Peers that answered before: `load` reads their addresses from wherever the caller keeps them."""

    origin = Origin.CACHED

    def __init__(self, load: Callable[[bytes], list[Address]]) -> None:
        self._load = load

    async def find(self, topic: bytes) -> AsyncIterator[Address]:
        for address in self._load(topic):
            yield address

    async def announce(self, topic: bytes, port: int) -> int:
        return 0


def origin_of(finder: PeerFinder) -> Origin:
    """How good a finder's addresses are: its attribute `origin`, if it has one."""
    origin = getattr(finder, "origin", Origin.DHT)
    return origin if isinstance(origin, Origin) else Origin(int(origin))
