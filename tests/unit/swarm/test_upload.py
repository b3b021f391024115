"""The uplink's order of service, and the seeder's choice."""

from __future__ import annotations

from random import Random

from pearrt.swarm.have import HaveSet
from pearrt.swarm.spread import Spread
from pearrt.swarm.upload import EVICT_AFTER_S, MAX_IN_SERVICE, MAX_LINE, Grant, Promised, UploadQueue

SCOPE = b"topic"


def block(n: int) -> bytes:
    return n.to_bytes(32)


def queue(**options: int) -> UploadQueue[str]:
    return UploadQueue(lambda peer, scope, ref: None, **options)


def granted(items: list[object]) -> list[tuple[str, int]]:
    return [(item.peer, int.from_bytes(item.block_id)) for item in items if isinstance(item, Grant)]


def test_slots_bound_what_is_in_service() -> None:
    uploads = queue(slots=2, per_peer=2)
    uploads.request("a", SCOPE, [block(n) for n in range(5)])
    assert granted(uploads.serve(0)) == [("a", 0), ("a", 1)]
    assert granted(uploads.serve(0)) == []
    uploads.sent("a", 1, 0.1)
    assert granted(uploads.serve(0.1)) == [("a", 2)]


def test_peers_take_turns() -> None:
    uploads = queue(slots=1, per_peer=1)
    uploads.request("greedy", SCOPE, [block(n) for n in range(100)])
    uploads.request("modest", SCOPE, [block(200), block(201)])
    order = []
    for _ in range(6):
        for peer, _n in granted(uploads.serve(0)):
            order.append(peer)
            uploads.sent(peer, 1000, 0)
    assert order.count("modest") == 2
    assert "modest" in order[:2]
    assert "modest" in order[2:5]


def test_a_newcomer_neither_starves_nor_starves_others() -> None:
    uploads = queue(slots=1, per_peer=1)
    uploads.request("old", SCOPE, [block(n) for n in range(50)])
    for _ in range(20):
        uploads.serve(0)
        uploads.sent("old", 1000, 0)
    uploads.request("new", SCOPE, [block(n) for n in range(50)])
    order = []
    for _ in range(10):
        for peer, _n in granted(uploads.serve(0)):
            order.append(peer)
            uploads.sent(peer, 1000, 0)
    assert 4 <= order.count("new") <= 6


def test_a_request_flood_is_refused_past_the_line() -> None:
    uploads = queue()
    refused = uploads.request("flooder", SCOPE, [block(n) for n in range(1000)])
    assert len(refused) == 1000 - MAX_LINE
    assert uploads.waiting("flooder") == MAX_LINE
    uploads.request("honest", SCOPE, [block(1)])
    assert ("honest", 1) in granted(uploads.serve(0))


def test_a_repeated_request_is_served_once() -> None:
    uploads = queue()
    for _ in range(10):
        uploads.request("a", SCOPE, [block(1)])
    assert granted(uploads.serve(0)) == [("a", 1)]


def test_a_cancelled_block_is_not_sent() -> None:
    uploads = queue(slots=1, per_peer=2)
    uploads.request("a", SCOPE, [block(1), block(2), block(3)])
    assert granted(uploads.serve(0)) == [("a", 1)]
    uploads.cancel("a", SCOPE, [block(2)])
    uploads.sent("a", 1, 0)
    assert granted(uploads.serve(0)) == [("a", 3)]


def test_any_is_promised_one_step_ahead_and_answered_empty_when_there_is_nothing() -> None:
    left = [7, 8, 9]
    uploads: UploadQueue[str] = UploadQueue(
        lambda peer, scope, ref: (block(left[0]), left.pop(0)) if left else None, slots=1
    )
    uploads.ask("a", SCOPE, 5, 2)
    uploads.ask("b", SCOPE, 5, 2)
    first = uploads.serve(0)
    assert [type(item) for item in first] == [Promised, Grant, Promised]
    rest: list[object] = []
    for _ in range(4):
        for peer in "ab":
            uploads.sent(peer, 1, 0)
        rest += uploads.serve(0)
    assert any(isinstance(item, Promised) and item.grant is None for item in rest)


def test_readers_that_stall_hold_no_slots() -> None:
    uploads = queue(slots=2, per_peer=1)
    for peer in ("slow 1", "slow 2", "fast"):
        uploads.request(peer, SCOPE, [block(n) for n in range(4)])
    held = {peer for peer, _ in granted(uploads.serve(0))}
    waiting = ({"slow 1", "slow 2", "fast"} - held).pop()
    again = uploads.look_again_at(0)
    assert again is not None
    assert [peer for peer, _ in granted(uploads.serve(again))] == [waiting]
    uploads.sent(waiting, 1, again + 0.01)
    assert [peer for peer, _ in granted(uploads.serve(again + 0.01))] == [waiting]


def test_readers_that_stall_hold_bounded_memory_and_the_slowest_goes_first() -> None:
    uploads = queue(slots=8, per_peer=1)
    now = 0.0
    for n in range(MAX_IN_SERVICE + 1):
        uploads.request(f"slow {n}", SCOPE, [block(1)])
    while uploads.in_service < MAX_IN_SERVICE:
        uploads.serve(now)
        now += 0.3
    assert uploads.serve(now) == []
    assert uploads.in_service == MAX_IN_SERVICE
    victim = uploads.to_evict(now + EVICT_AFTER_S)
    assert victim == "slow 0"
    uploads.remove(victim)
    assert uploads.to_evict(now + EVICT_AFTER_S) is None
    assert len(granted(uploads.serve(now + EVICT_AFTER_S))) == 1


def test_what_a_gone_peer_waited_for_is_forgotten() -> None:
    uploads = queue(slots=1)
    uploads.request("a", SCOPE, [block(1), block(2)])
    uploads.serve(0)
    uploads.remove("a")
    uploads.request("b", SCOPE, [block(3)])
    assert granted(uploads.serve(0)) == [("b", 3)]


def test_leaving_one_app_leaves_the_requests_of_others() -> None:
    uploads = queue(slots=1)
    uploads.request("a", b"one", [block(1), block(2)])
    uploads.request("a", b"two", [block(3)])
    uploads.forget_scope("a", b"one")
    assert granted(uploads.serve(0)) == [("a", 3)]


def test_each_block_once_before_any_twice() -> None:
    spread: Spread[str] = Spread(6, Random(1))
    for peer in "abc":
        spread.joined(peer, HaveSet(6))
    chosen = []
    for n in range(6):
        peer = "abc"[n % 3]
        ordinal = spread.choose(peer, None)
        assert ordinal is not None
        spread.noted(peer, [ordinal])
        chosen.append(ordinal)
    assert sorted(chosen) == list(range(6))


def test_the_choice_is_what_the_asker_lacks_and_we_hold() -> None:
    spread: Spread[str] = Spread(4, Random(1))
    spread.joined("a", HaveSet(4, [0, 1]))
    assert spread.choose("a", HaveSet(4, [0, 3])) == 3
    assert spread.choose("a", HaveSet(4, [0, 1])) is None


def test_copies_of_a_peer_that_left_do_not_count() -> None:
    spread: Spread[str] = Spread(2, Random(1))
    spread.joined("a", HaveSet(2, [0]))
    assert spread.choose("b", None) == 1
    spread.left("a")
    spread.joined("c", HaveSet(2, [1]))
    assert spread.choose("b", None) == 0
