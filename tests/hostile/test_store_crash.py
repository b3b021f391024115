"""kill -9 at every write of the store, and while unpacking: what is left is old or new, never mixed."""

from __future__ import annotations

from collections.abc import Callable


def test_killed_at_every_system_call_the_store_is_old_or_new(survive: Callable[..., list[int]]) -> None:
    (kills,) = survive("store_crash", "calls")
    assert kills >= 60


def test_killed_at_forty_random_moments_the_store_is_old_or_new(survive: Callable[..., list[int]]) -> None:
    (kills,) = survive("store_crash", "moments")
    assert kills >= 30


def test_killed_while_unpacking_the_tree_is_whole_or_absent(survive: Callable[..., list[int]]) -> None:
    (kills,) = survive("unpack_crash")
    assert kills >= 20
