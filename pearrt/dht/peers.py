"""The peers that were announced to this node: topic -> addresses, each with an expiry.

Bounds: topics per node and peers per topic. When full, the topic announced to longest ago, or the oldest
peer, gives way.
"""

from __future__ import annotations

import random

from pearrt.dht.contact import Address


class PeerTable:
    """Announced peers, in the order of their last announcement."""

    __slots__ = ("_lifetime_s", "_max_peers", "_max_topics", "_topics")

    def __init__(self, *, max_topics: int, max_peers: int, lifetime_s: float) -> None:
        self._max_topics = max_topics
        self._max_peers = max_peers
        self._lifetime_s = lifetime_s
        self._topics: dict[bytes, dict[Address, float]] = {}

    def add(self, topic: bytes, peer: Address, now: float) -> None:
        """Records or renews one announcement."""
        peers = self._topics.pop(topic, None)
        if peers is None:
            peers = {}
            if len(self._topics) >= self._max_topics:
                del self._topics[next(iter(self._topics))]
        self._topics[topic] = peers
        peers.pop(peer, None)
        if len(peers) >= self._max_peers:
            del peers[next(iter(peers))]
        peers[peer] = now + self._lifetime_s

    def sample(self, topic: bytes, count: int, now: float, rng: random.Random) -> list[Address]:
        """Up to `count` live peers of `topic`, at random."""
        peers = self._topics.get(topic)
        if peers is None:
            return []
        self._expire(topic, peers, now)
        live = list(peers)
        return live if len(live) <= count else rng.sample(live, count)

    def expire(self, now: float) -> None:
        """Drops every peer whose time is over."""
        for topic, peers in list(self._topics.items()):
            self._expire(topic, peers, now)

    def _expire(self, topic: bytes, peers: dict[Address, float], now: float) -> None:
        while peers:
            oldest = next(iter(peers))
            if peers[oldest] > now:
                return
            del peers[oldest]
        self._topics.pop(topic, None)

    def __len__(self) -> int:
        return len(self._topics)
