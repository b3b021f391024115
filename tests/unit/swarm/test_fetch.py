"""One bundle's download, step by step."""

from __future__ import annotations

from random import Random

import pytest

from pearrt.swarm.actions import Arrival, Ask, Cancel, Condemn, Request
from pearrt.swarm.fetch import BundleFetch
from pearrt.swarm.flow import MAX_WINDOW, FlowWindow
from pearrt.swarm.have import HaveSet


def fetch(total: int = 10, *, use_any: bool = True) -> BundleFetch[str]:
    return BundleFetch(total, range(total), Random(1), use_any=use_any)


def requested(actions: list[object], source: str) -> list[int]:
    return [n for a in actions if isinstance(a, Request) and a.source == source for n in a.ordinals]


def test_each_block_is_asked_of_one_source() -> None:
    f = fetch()
    f.add_source("a", None, now=0)
    f.add_source("b", None, now=0)
    actions = f.actions(0)
    asked = requested(actions, "a") + requested(actions, "b")
    assert len(asked) == len(set(asked))
    assert requested(actions, "a")
    assert requested(actions, "b")


def test_a_lone_seed_among_leechers_is_asked_for_any_block() -> None:
    f = fetch()
    f.add_source("seed", None, now=0)
    f.add_source("leecher", HaveSet(10), now=0)
    assert [type(a) for a in f.actions(0)] == [Ask]


def test_a_promise_is_not_asked_of_others_and_arrives() -> None:
    f = fetch(2)
    f.add_source("seed", None, now=0)
    f.add_source("leecher", HaveSet(2), now=0)
    f.actions(0)
    f.promised("seed", [1], 0.1)
    f.add_have("leecher", [1])
    assert requested(f.actions(0.1), "leecher") == []
    assert f.arrived("seed", 1, 0.2) is Arrival.NEW


def test_a_promise_of_what_we_hold_is_cancelled() -> None:
    f = fetch(3)
    f.add_source("seed", None, now=0)
    f.add_source("leecher", HaveSet(3, [0]), now=0)
    assert requested(f.actions(0), "leecher") == [0]
    assert f.arrived("leecher", 0, 0.1) is Arrival.NEW
    f.promised("seed", [0], 0.1)
    assert Cancel("seed", (0,)) in f.actions(0.1)


def test_promises_beyond_what_was_asked_are_ignored() -> None:
    f = fetch(10)
    f.add_source("seed", None, now=0)
    f.add_source("leecher", HaveSet(10), now=0)
    asked = sum(a.count for a in f.actions(0) if isinstance(a, Ask))
    f.promised("seed", range(10), 0.1)
    assert f.outstanding == asked


def test_who_wants_only_a_part_stops_asking_for_any() -> None:
    f: BundleFetch[str] = BundleFetch(100, range(90, 100), Random(1))
    f.add_source("seed", None, now=0)
    f.add_source("leecher", HaveSet(100), now=0)
    for ordinal in range(50):
        if requested(actions := f.actions(ordinal), "seed"):
            return
        assert any(isinstance(a, Ask | Cancel) for a in actions)
        f.promised("seed", [ordinal], ordinal)
    raise AssertionError("still asks for any block")


def test_a_bad_block_condemns_its_sender_and_is_fetched_from_another() -> None:
    f = fetch(1)
    f.add_source("bad", None, now=0)
    f.actions(0)
    f.add_source("good", None, now=0)
    assert f.arrived("bad", 0, 0.1) is Arrival.NEW
    assert f.failed(0, 0.1) == "bad"
    actions = f.actions(0.1)
    assert any(isinstance(a, Condemn) and a.source == "bad" for a in actions)
    assert requested(actions, "good") == [0]
    assert f.arrived("good", 0, 0.2) is Arrival.NEW
    f.verified(0)
    assert f.done


def test_what_a_lost_peer_owed_is_asked_of_others() -> None:
    f = fetch(4)
    f.add_source("a", None, now=0)
    assert sorted(requested(f.actions(0), "a")) == [0, 1, 2, 3]
    f.add_source("b", None, now=0)
    f.remove_source("a", 0.1)
    assert sorted(requested(f.actions(0.1), "b")) == [0, 1, 2, 3]


def test_a_silent_source_loses_its_requests_and_in_the_end_its_place() -> None:
    f = fetch(1)
    f.add_source("silent", None, now=0)
    seen: list[object] = []
    for second in range(400):
        f.tick(second)
        seen += f.actions(second)
    assert Cancel("silent", (0,)) in seen
    assert any(isinstance(a, Condemn) for a in seen)
    assert sum(isinstance(a, Request) for a in seen) == 5


def test_a_late_block_is_still_welcome() -> None:
    f = fetch(1)
    f.add_source("slow", None, now=0)
    f.actions(0)
    f.tick(9)
    f.actions(9)
    assert f.arrived("slow", 0, 10) is Arrival.NEW


def test_blocks_nobody_asked_for_are_left_and_condemn_in_the_end() -> None:
    f = fetch(50)
    f.add_source("pusher", HaveSet(50), now=0)
    arrivals = [f.arrived("pusher", n, 0) for n in range(20)]
    assert set(arrivals) == {Arrival.UNASKED}
    assert any(isinstance(a, Condemn) for a in f.actions(0))
    assert f.remaining == 50


def test_one_that_lacks_what_it_announced_is_condemned_after_a_few() -> None:
    f = fetch(10)
    f.add_source("liar", None, now=0)
    f.refused("liar", requested(f.actions(0), "liar"), not_found=True, now=0)
    assert any(isinstance(a, Condemn) for a in f.actions(0))


def test_a_busy_source_rests_and_is_asked_again() -> None:
    f = fetch(3)
    f.add_source("busy", None, now=0)
    f.refused("busy", requested(f.actions(0), "busy"), not_found=False, now=0)
    assert f.actions(0.5) == []
    assert requested(f.actions(1.5), "busy")


def test_an_idle_source_takes_over_what_waits_in_a_long_line() -> None:
    f = fetch(8)
    f.add_source("slow", None, now=0)
    assert len(requested(f.actions(0), "slow")) == 4
    for at in (5.0, 10.0):
        ordinal = next(iter(f._sources["slow"].pending))
        assert f.arrived("slow", ordinal, at) is Arrival.NEW
        f.verified(ordinal)
        f.actions(at)
    f.add_source("fast", None, now=10)
    taken: list[int] = []
    cancels: list[object] = []
    now = 10.0
    while not f.done and now < 20:
        now += 0.1
        for action in f.actions(now):
            cancels.append(action)
            if isinstance(action, Request) and action.source == "fast":
                for ordinal in action.ordinals:
                    taken.append(ordinal)
                    if f.arrived("fast", ordinal, now + 0.05) is Arrival.NEW:
                        f.verified(ordinal)
    assert f.done
    assert len(taken) == len(set(taken)) == 6
    assert any(isinstance(a, Cancel) for a in cancels)


def test_paused_asks_for_nothing() -> None:
    f = fetch()
    f.add_source("a", None, now=0)
    f.paused = True
    assert f.actions(0) == []


def test_wanted_blocks_must_be_in_the_bundle() -> None:
    with pytest.raises(ValueError, match="outside"):
        BundleFetch(3, [3], Random(1))


def test_loose_blocks_are_never_asked_for_by_any() -> None:
    f = fetch(use_any=False)
    f.add_source("seed", None, now=0)
    f.add_source("leecher", HaveSet(10), now=0)
    assert not any(isinstance(a, Ask) for a in f.actions(0))


def test_the_window_reaches_twice_the_bandwidth_delay_product() -> None:
    """100 blocks/s over 100 ms: 10 blocks are under way, the window should be about 20."""
    flow = FlowWindow()
    now, free_at = 0.0, 0.0
    sent: list[tuple[float, float]] = []
    for _ in range(400):
        while len(sent) < flow.window:
            free_at = max(free_at, now + 0.05) + 0.01
            sent.append((free_at + 0.05, now))
        arrival, asked_at = sent.pop(0)
        now = arrival
        flow.arrived(now, asked_at)
    assert 18 <= flow.window <= 40


def test_the_window_is_bounded() -> None:
    flow = FlowWindow()
    for n in range(1000):
        flow.arrived(n * 1e-5, n * 1e-5 - 1)
    assert flow.window == MAX_WINDOW
