"""Whom to ask and whom to count: different networks and different ways of finding come first."""

from __future__ import annotations

import pytest

from pearrt.swarm.diverse import diverse
from pearrt.swarm.gossip import Gossip, News
from pearrt.swarm.scope import source_of


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("8.8.8.8", "8.8.8.0/24"),
        ("8.8.8.250", "8.8.8.0/24"),
        ("::ffff:8.8.8.8", "8.8.8.0/24"),
        ("2a01:4f8:1:2::5", "2a01:4f8:1::/48"),
        ("2a01:4f8:1:ffff::1", "2a01:4f8:1::/48"),
        ("192.168.1.7", "192.168.1.7"),
        ("127.0.0.1", "127.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("nonsense", "nonsense"),
    ],
)
def test_many_addresses_of_one_network_are_one_voice(host: str, source: str) -> None:
    assert source_of(host) == source


def test_a_crowd_in_one_network_does_not_fill_the_front_of_the_line() -> None:
    crowd = [(f"evil{number}", ("8.8.8.0/24", "incoming")) for number in range(50)]
    others = [("lan", ("10.0.0.2", "lan")), ("dht", ("9.9.9.0/24", "dht"))]
    marks = dict(crowd + others)
    order = diverse([name for name, _ in crowd + others], lambda name: marks[name])
    assert set(order[:3]) == {"evil0", "lan", "dht"}
    assert sorted(order) == sorted(marks)


def test_only_what_a_peer_says_by_itself_confirms() -> None:
    gossip: Gossip[str] = Gossip(b"1", lambda raw: raw > b"1")
    for peer in ("ada", "bob", "cyd"):
        gossip.joined(peer, 0)  # each is told ours
    assert gossip.confirmers() == []
    assert gossip.heard("ada", b"1", 0) is News.SAME
    assert gossip.confirmers() == ["ada"]
    assert gossip.heard("bob", b"2", 0) is News.NEWER
    gossip.ours_changed(b"2")
    assert gossip.confirmers() == ["bob"]  # ada has not said so yet
