"""Rarest first, random ties, near before far, shares of a site's work."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from pearrt.swarm.have import HaveSet
from pearrt.swarm.picker import Picker
from pearrt.swarm.rarity import RarityBuckets


def test_the_rarest_comes_first() -> None:
    picker = Picker(4, range(4), Random(1))
    for ordinal, copies in ((0, 3), (1, 1), (2, 2), (3, 2)):
        for _ in range(copies):
            picker.add_copy(ordinal, near=False)
    order = []
    while (ordinal := picker.pick(None, near=False)) is not None:
        picker.take(ordinal)
        order.append(ordinal)
    assert order[0] == 1
    assert set(order[1:3]) == {2, 3}
    assert order[3] == 0


def test_ties_are_random() -> None:
    first = Counter(Picker(8, range(8), Random(seed)).pick(None, near=False) for seed in range(400))
    assert len(first) == 8
    assert max(first.values()) < 100


def test_a_source_is_asked_only_for_what_it_holds() -> None:
    picker = Picker(200, range(200), Random(1))
    few, many = HaveSet(200, [7]), HaveSet(200, range(100))
    assert picker.pick(few, near=False) == 7
    picker.take(7)
    assert picker.pick(few, near=False) is None
    assert (picker.pick(many, near=False) or 0) < 100


def test_a_far_source_is_not_asked_for_what_a_near_one_holds() -> None:
    picker = Picker(3, range(3), Random(1))
    picker.add_copy(0, near=True)
    picker.add_copy(1, near=True)
    assert picker.pick(None, near=False) == 2
    picker.take(2)
    assert picker.pick(None, near=False) is None
    assert picker.pick(None, near=False, spare_far=False) in (0, 1)
    assert picker.pick(HaveSet(3, [0, 1]), near=True) in (0, 1)


def test_beside_a_near_seed_nothing_is_fetched_from_far() -> None:
    picker = Picker(3, range(3), Random(1))
    picker.add_seed(near=True)
    assert picker.pick(None, near=False) is None
    assert picker.pick(None, near=True) is not None


def test_a_share_of_the_sites_work_is_its_own_ordinals_only() -> None:
    picker = Picker(9, range(9), Random(1))
    mine = []
    while (ordinal := picker.pick(None, near=False, share=(1, 3))) is not None:
        picker.take(ordinal)
        mine.append(ordinal)
    assert sorted(mine) == [1, 4, 7]


def test_what_was_asked_for_in_vain_is_free_again() -> None:
    picker = Picker(1, range(1), Random(1))
    changes = picker.changes
    picker.take(0)
    assert picker.free == 0
    picker.release(0)
    assert picker.free == 1
    assert picker.changes > changes


@given(st.lists(st.tuples(st.sampled_from("amr"), st.integers(0, 20), st.integers(0, 5))), st.integers())
def test_buckets_agree_with_a_plain_dictionary(steps: list[tuple[str, int, int]], seed: int) -> None:
    buckets, model = RarityBuckets(Random(seed)), dict[int, int]()
    for action, ordinal, level in steps:
        if action == "a" and ordinal not in model:
            buckets.add(ordinal, level)
            model[ordinal] = level
        elif action == "m":
            buckets.move(ordinal, level)
            if ordinal in model:
                model[ordinal] = level
        elif action == "r":
            assert buckets.remove(ordinal) == (model.pop(ordinal, None) is not None)
    order = list(buckets.rarest_first())
    assert set(order) == set(model)
    assert len(order) == len(model) == buckets.size
    assert [model[n] for n in order] == sorted(model.values())
    assert all(buckets.level(n) == model[n] for n in model)
