from __future__ import annotations

import random

from pearrt.dht.peers import PeerTable

TOPIC = b"t" * 20


def table() -> PeerTable:
    return PeerTable(max_topics=3, max_peers=4, lifetime_s=2700)


def test_a_peer_is_forgotten_45_minutes_after_its_last_announcement() -> None:
    peers = table()
    peers.add(TOPIC, ("8.1.1.1", 1), 0.0)
    peers.add(TOPIC, ("8.1.1.2", 2), 1000.0)
    peers.add(TOPIC, ("8.1.1.1", 1), 2000.0)
    rng = random.Random(1)
    assert set(peers.sample(TOPIC, 9, 3699.0, rng)) == {("8.1.1.1", 1), ("8.1.1.2", 2)}
    assert peers.sample(TOPIC, 9, 3701.0, rng) == [("8.1.1.1", 1)]
    peers.expire(5000.0)
    assert len(peers) == 0


def test_the_topic_announced_to_longest_ago_gives_way() -> None:
    peers = table()
    for i in range(4):
        peers.add(bytes([i]) * 20, ("8.1.1.1", 1), float(i))
    assert peers.sample(bytes(20), 9, 4.0, random.Random(1)) == []
    assert peers.sample(bytes([3]) * 20, 9, 4.0, random.Random(1)) == [("8.1.1.1", 1)]


def test_a_sample_is_no_larger_than_asked() -> None:
    peers = table()
    for port in range(1, 5):
        peers.add(TOPIC, ("8.1.1.1", port), 0.0)
    assert len(set(peers.sample(TOPIC, 2, 1.0, random.Random(1)))) == 2
