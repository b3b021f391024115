"""Topic proofs both ways, and claims about bundles that are not known yet."""

from __future__ import annotations

import pytest

from pearrt.errors import LimitExceeded, ProtocolViolation
from pearrt.swarm.claims import MAX_DIGESTS, UnknownClaims
from pearrt.swarm.have import HaveSet
from pearrt.swarm.topics import JOIN_BURST, MAX_UNMATCHED, Joined, LinkTopics

HASH = b"h" * 32
TOPIC = b"t" * 32
NOW = 1000.0


def ends() -> tuple[LinkTopics, LinkTopics]:
    return LinkTopics(HASH, initiator=True), LinkTopics(HASH, initiator=False)


def test_both_sides_join_what_both_prove_on_one_channel() -> None:
    a, b = ends()
    from_a, none = a.offer([TOPIC, b"x" * 32], NOW)
    assert none == []
    from_b, _ = b.offer([TOPIC, b"y" * 32], NOW)
    (joined_b,) = b.proofs(from_a, NOW)
    (joined_a,) = a.proofs(from_b, NOW)
    assert joined_a == joined_b
    assert joined_a.topic == TOPIC


def test_a_topic_joined_later_meets_the_proof_that_came_before() -> None:
    a, b = ends()
    proofs, _ = a.offer([TOPIC], NOW)
    assert b.proofs(proofs, NOW) == []
    _, joined = b.offer([TOPIC], NOW)
    assert [j.topic for j in joined] == [TOPIC]


def test_an_echoed_proof_joins_nothing() -> None:
    a, _ = ends()
    proofs, _ = a.offer([TOPIC], NOW)
    assert a.proofs(proofs, NOW) == []


def test_a_proof_of_another_connection_joins_nothing() -> None:
    a, _ = ends()
    a.offer([TOPIC], NOW)
    proofs, _ = LinkTopics(b"other" * 6 + b"!!", initiator=False).offer([TOPIC], NOW)
    assert a.proofs(proofs, NOW) == []


def test_unbounded_topics_are_refused() -> None:
    a, _ = ends()
    with pytest.raises(LimitExceeded):
        a.proofs((n.to_bytes(32) for n in range(MAX_UNMATCHED + 1)), NOW)


def test_leaving_ends_the_channel_and_joining_again_opens_it() -> None:
    a, b = ends()
    from_a, _ = a.offer([TOPIC], NOW)
    b.offer([TOPIC], NOW)
    (joined,) = b.proofs(from_a, NOW)
    assert b.withdraw(TOPIC) == joined.channel
    assert b.withdraw(TOPIC) is None
    _, again = b.offer([TOPIC], NOW)
    assert again == [Joined(TOPIC, joined.channel)], "the peer stayed: its proof still holds"
    assert b.proofs(from_a, NOW) == []


def test_joining_and_leaving_all_the_time_is_refused() -> None:
    a, b = ends()
    from_a, _ = a.offer([TOPIC], NOW)
    b.offer([TOPIC], NOW)
    for _ in range(JOIN_BURST):
        (joined,) = b.proofs(from_a, NOW)
        b.left(joined.channel)
    with pytest.raises(LimitExceeded):
        b.proofs(from_a, NOW)


@pytest.mark.parametrize("delay", [0.0, 400.0])
def test_nobody_who_comes_and_goes_as_often_as_it_may_is_cut_off_or_shut_out(delay: float) -> None:
    """However the offers bunch up on the way: all of the last `delay` seconds may arrive at once."""
    a, b = ends()
    b.offer([TOPIC], NOW)
    under_way: list[list[bytes]] = []
    offered = 0
    for second in range(20_000):
        proofs, _ = a.offer([TOPIC], NOW + second)
        assert bool(proofs) != (a.held_back() == [TOPIC])
        a.withdraw(TOPIC)
        assert a.held_back() == [], "it is not to be offered any more"
        under_way += [proofs] if proofs else []
        if not delay or second % delay == 0:
            for each in under_way:
                (joined,) = b.proofs(each, NOW + second)
                b.left(joined.channel)
            offered, under_way = offered + len(under_way), []
    assert offered > JOIN_BURST + 200


def test_claims_wait_in_bounded_space() -> None:
    claims = UnknownClaims()
    for n in range(100):
        claims.holds_all(n.to_bytes(32))
    assert len(claims.digests) == MAX_DIGESTS
    claims.holds(b"d" * 32, bytes(1 << 20))
    assert b"d" * 32 not in claims.digests
    claims.holds(b"e" * 32, HaveSet(16, [1]).encode())
    for _ in range(100):
        claims.announced(int.from_bytes(b"eeee"), list(range(1000)))
    assert sum(len(c.ordinals) for c in claims._claims.values()) <= 1 << 15


def test_claims_are_checked_once_the_bundle_is_known() -> None:
    claims = UnknownClaims()
    digest = b"e" * 32
    claims.holds(digest, HaveSet(16, [1]).encode())
    claims.announced(int.from_bytes(b"eeee"), [2])
    known, held = claims.resolve(digest, 16)
    assert known
    assert held is not None
    assert set(held) == {1, 2}
    assert claims.resolve(digest, 16) == (False, None)
    claims.holds(digest, b"\xff")
    with pytest.raises(ProtocolViolation):
        claims.resolve(digest, 16)
    claims.holds(digest, b"\xff\xff")
    claims.announced(int.from_bytes(b"eeee"), [16])
    with pytest.raises(ProtocolViolation):
        claims.resolve(digest, 16)


def test_who_leaves_and_comes_back_is_joined_again() -> None:
    ours, theirs = LinkTopics(b"h" * 32, initiator=True), LinkTopics(b"h" * 32, initiator=False)
    topic = b"t" * 32
    proofs, _ = ours.offer([topic], NOW)
    answer, joined = theirs.offer([topic], NOW)
    assert joined == []
    [there] = theirs.proofs(proofs, NOW)
    assert [each.topic for each in ours.proofs(answer, NOW)] == [topic]

    assert ours.withdraw(topic) == there.channel
    assert theirs.left(there.channel) == topic
    proofs, joined = ours.offer([topic], NOW)
    assert [each.topic for each in joined] == [topic]
    assert [each.topic for each in theirs.proofs(proofs, NOW)] == [topic]


def test_who_comes_back_after_the_peer_left_too_waits_for_its_proof() -> None:
    ours, theirs = LinkTopics(b"h" * 32, initiator=True), LinkTopics(b"h" * 32, initiator=False)
    topic = b"t" * 32
    ours.proofs(theirs.offer([topic], NOW)[0], NOW)
    ours.offer([topic], NOW)
    channel = ours.withdraw(topic)
    assert channel is not None
    ours.left(channel)
    assert ours.offer([topic], NOW)[1] == []
