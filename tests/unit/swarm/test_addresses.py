"""Which addresses are believed, tried, told on and banned."""

from __future__ import annotations

from random import Random

import pytest

from pearrt.swarm.dialer import MAX_FAILURES, MAX_KNOWN, Dialer, Origin
from pearrt.swarm.exchange import MAX_HEARD, PeerExchange
from pearrt.swarm.reputation import ADDRESS_BANS, MAX_PEERS, Offence, Reputation
from pearrt.swarm.scope import Scope, may_be_told, near, scope_of

WORLD = "8.8.4.4"


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("127.0.0.1", Scope.HOST),
        ("::1", Scope.HOST),
        ("::ffff:127.0.0.1", Scope.HOST),
        ("10.1.2.3", Scope.SITE),
        ("169.254.1.1", Scope.SITE),
        ("100.64.0.1", Scope.SITE),
        ("fd00::1", Scope.SITE),
        ("fe80::1%eth0", Scope.SITE),
        ("8.8.4.4", Scope.WORLD),
        ("2606:4700::1", Scope.WORLD),
        ("0.0.0.0", Scope.NONE),
        ("224.0.0.1", Scope.NONE),
        ("255.255.255.255", Scope.NONE),
        ("::", Scope.NONE),
        ("ff02::1", Scope.NONE),
        ("localhost", Scope.NONE),
        ("", Scope.NONE),
    ],
)
def test_scopes(host: str, scope: Scope) -> None:
    assert scope_of(host) is scope


def test_a_stranger_cannot_make_us_dial_our_own_site() -> None:
    assert may_be_told(WORLD, "8.8.8.8")
    assert not may_be_told(WORLD, "192.168.0.10")
    assert not may_be_told(WORLD, "127.0.0.1")
    assert not may_be_told("192.168.0.2", "127.0.0.1")
    assert may_be_told("192.168.0.2", "192.168.0.10")
    assert may_be_told("127.0.0.1", "127.0.0.1")
    assert not may_be_told("127.0.0.1", "224.0.0.1")


def test_near_is_one_machine_or_one_network() -> None:
    assert near("127.0.0.1", "127.0.0.1")
    assert near("10.0.0.1", "10.0.0.200")
    assert not near("10.0.0.1", "10.0.1.1")
    assert near("2606:4700::1", "2606:4700::2")
    assert not near("10.0.0.1", "2606:4700::2")
    assert not near("nonsense", "10.0.0.1")


def test_peer_exchange_flood_is_bounded_in_messages_and_addresses() -> None:
    exchange: PeerExchange[str] = PeerExchange(Random(1))
    taken: list[tuple[str, int]] = []
    refused = 0
    for n in range(200):
        addresses = [(f"8.{n}.{m}.1", 7000) for m in range(50)]
        heard = exchange.heard("flooder", WORLD, addresses, (), now=n * 40.0)
        taken += heard or []
        refused += heard is None
    assert len(taken) == MAX_HEARD
    assert refused == 0
    assert [exchange.heard("burst", WORLD, [], (), now=0) for _ in range(5)][-1] is None


def test_poisoned_addresses_are_left_out() -> None:
    exchange: PeerExchange[str] = PeerExchange(Random(1))
    ours = ("8.8.8.8", 7000)
    told = [
        ours,
        ("10.0.0.1", 7000),
        ("127.0.0.1", 7000),
        ("224.0.0.1", 7000),
        ("8.8.8.9", 22),
        ("8.8.8.9", 7001),
    ]
    assert exchange.heard("a", WORLD, [*told, *told], [ours], 0) == [("8.8.8.9", 7001)]


def test_a_peer_is_told_each_address_once_and_only_what_it_can_use() -> None:
    exchange: PeerExchange[str] = PeerExchange(Random(1))
    known = [("10.0.0.5", 7000), ("8.8.8.8", 7000)]
    assert exchange.to_tell("stranger", WORLD, known) == (("8.8.8.8", 7000),)
    assert exchange.to_tell("stranger", WORLD, known) == ()
    assert set(exchange.to_tell("neighbour", "10.0.0.2", known)) == set(known)
    assert len(exchange.to_tell("other", WORLD, [(f"8.8.{n}.8", 7000) for n in range(90)])) == 50


def test_a_bad_block_bans_at_once_and_the_ban_ends() -> None:
    reputation = Reputation()
    assert reputation.offend(b"a", "10.0.0.1", Offence.BAD_BLOCK, 0)
    assert reputation.banned(b"a", "10.0.0.9", 10)
    assert not reputation.banned(b"b", "10.0.0.1", 10)
    assert not reputation.banned(b"a", "10.0.0.9", 4000)


def test_bans_grow_with_repetition() -> None:
    reputation = Reputation()
    reputation.offend(b"a", "h", Offence.BAD_BLOCK, 0)
    reputation.offend(b"a", "h", Offence.BAD_BLOCK, 4000)
    assert reputation.banned(b"a", "h", 4000 + 7000)


def test_small_offences_add_up_and_fade() -> None:
    reputation = Reputation()
    assert not reputation.offend(b"a", "h", Offence.FLOOD, 0)
    assert not reputation.offend(b"a", "h", Offence.FLOOD, 1)
    assert reputation.offend(b"a", "h", Offence.FLOOD, 2)
    for hour in range(10):
        assert not reputation.offend(b"b", "h", Offence.FLOOD, hour * 3600.0)


def test_an_address_is_banned_after_several_bad_ids() -> None:
    reputation = Reputation()
    for n in range(ADDRESS_BANS):
        assert not reputation.banned(None, "10.0.0.1", 5)
        reputation.offend(bytes([n]), "10.0.0.1", Offence.BAD_BLOCK, 5)
    assert reputation.banned(None, "10.0.0.1", 6)
    assert not reputation.banned(None, "10.0.0.1", 4000)


def test_reputation_is_bounded_and_survives_a_restart() -> None:
    reputation = Reputation()
    for n in range(MAX_PEERS + 500):
        reputation.offend(n.to_bytes(32), f"h{n}", Offence.BAD_BLOCK, 0)
    assert len(reputation._peers) == MAX_PEERS
    last = (MAX_PEERS + 499).to_bytes(32)
    again = Reputation.decode(reputation.encode(10), 10)
    assert again.banned(last, "x", 10)
    assert not again.banned(last, "x", 5000)


@pytest.mark.parametrize(
    "data", [b"", b"le", b"d5:hostsi1e5:peersi2ee", b"\xff" * 100, b"d5:hostsle5:peersl1:aee"]
)
def test_a_damaged_ban_file_counts_as_empty(data: bytes) -> None:
    assert not Reputation.decode(data, 0).banned(b"a", "h", 0)


def test_the_nearest_origin_is_dialled_first_and_failures_wait_longer_each_time() -> None:
    dialer = Dialer(Random(1))
    dialer.add(("8.8.8.8", 1), Origin.DHT, 0)
    dialer.add(("10.0.0.1", 1), Origin.LAN, 0)
    assert dialer.due(0, 0, 0) == [("10.0.0.1", 1), ("8.8.8.8", 1)]
    waits = []
    now = 0.0
    for _ in range(5):
        dialer.failed(("8.8.8.8", 1), now)
        due = dialer.next_due()
        assert due is not None
        waits.append(due - now)
        now = due
        assert dialer.due(0, 0, now) == [("8.8.8.8", 1)]
    assert waits == sorted(waits)
    assert waits[-1] > 8


def test_what_never_answers_is_forgotten_unless_configured() -> None:
    dialer = Dialer(Random(1))
    for address, origin in ((("8.8.8.8", 1), Origin.DHT), (("8.8.8.9", 1), Origin.CONFIGURED)):
        dialer.add(address, origin, 0)
        for n in range(MAX_FAILURES):
            dialer.failed(address, n)
    assert dialer.due(0, 0, 1e6) == [("8.8.8.9", 1)]


def test_known_addresses_are_bounded_and_better_ones_take_the_place_of_worse() -> None:
    dialer = Dialer(Random(1))
    for n in range(MAX_KNOWN + 100):
        dialer.add((f"8.{n >> 8}.{n & 255}.1", 1), Origin.EXCHANGE, 0)
    assert len(dialer._known) == MAX_KNOWN
    assert dialer.add(("10.0.0.1", 1), Origin.LAN, 0)
    assert len(dialer._known) == MAX_KNOWN
    assert dialer.due(0, 0, 0)[0] == ("10.0.0.1", 1)


def test_enough_peers_means_no_more_dialling() -> None:
    dialer = Dialer(Random(1), wanted_peers=8)
    for n in range(20):
        dialer.add((f"8.8.8.{n}", 1), Origin.DHT, 0)
    assert len(dialer.due(5, 1, 0)) == 2
    assert dialer.due(5, 1, 0) == []


def test_neighbours_never_take_the_last_places_nor_strangers() -> None:
    for host in ("10.0.0.{}", "8.8.8.{}"):
        dialer = Dialer(Random(1), wanted_peers=8)
        for n in range(20):
            dialer.add((host.format(n), 2000), Origin.LAN, 0)
        assert len(dialer.due(0, 0, 0)) == 6
        dialer.add(("8.8.4.4" if host.startswith("10") else "10.1.1.1", 2000), Origin.EXCHANGE, 0)
        assert len(dialer.due(0, 0, 0)) == 1


def test_nonsense_is_never_dialled() -> None:
    dialer = Dialer(Random(1))
    for address in (("0.0.0.0", 1), ("224.0.0.1", 1), ("8.8.8.8", 0), ("name", 1)):
        assert not dialer.add(address, Origin.DHT, 0)
