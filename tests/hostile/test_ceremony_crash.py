"""kill -9 at every step of a ceremony and its commit: old or new, never mixed, nothing lost."""

from __future__ import annotations

from collections.abc import Callable


def test_killed_at_every_system_call_of_a_ceremony_what_peers_see_is_old_or_new(
    survive: Callable[..., list[int]],
) -> None:
    """A release, a rotation of signers and heartbeat, and a new app."""
    (kills,) = survive("ceremony_crash", "calls")
    assert kills >= 200


def test_killed_at_two_hundred_random_moments_it_is_old_or_new(survive: Callable[..., list[int]]) -> None:
    (kills,) = survive("ceremony_crash", "moments")
    assert kills >= 200
