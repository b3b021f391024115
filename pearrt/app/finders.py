"""The DHT as a place where the swarm finds peers."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pearrt.dht.service import DhtService
from pearrt.link import dht_topic


class DhtFinder:
    """`PeerFinder` of the swarm: topic -> addresses, by BEP 5 under the topic's first 20 bytes."""

    def __init__(self, dht: DhtService) -> None:
        self.dht = dht

    def find(self, topic: bytes) -> AsyncIterator[tuple[str, int]]:
        return self.dht.get_peers(dht_topic(topic))

    async def announce(self, topic: bytes, port: int) -> int:
        return await self.dht.announce(dht_topic(topic), port)
