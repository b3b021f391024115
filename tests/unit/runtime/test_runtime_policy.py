"""Whether a release of pearrt is taken: what runs, what failed, pins, deferrals, delays, security."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pearrt.runtime import state as states
from pearrt.runtime.policy import Offer, Policy, obstacle, policy_of
from pearrt.runtime.state import RuntimeState

A, B = "a" * 64, "b" * 64
NOW = 1_000_000.0
HERE = states.install(RuntimeState(), "pearrt://x", A, "1")
OFFER = Offer(B, "2", NOW - 3600)


@pytest.mark.parametrize(
    ("state", "offer", "policy", "eager", "said"),
    [
        (HERE, OFFER, Policy(), False, ""),
        (HERE, Offer(A, "1", 0), Policy(), True, "is the newest"),
        (states.begin(HERE, "c" * 64, "3"), OFFER, Policy(), True, "on trial"),
        (states.reject(HERE, B, "2", "it fell over"), OFFER, Policy(), True, "it fell over"),
        (HERE, OFFER, Policy(pin="1"), True, "pinned to 1"),
        (HERE, OFFER, Policy(pin="2"), False, ""),
        (HERE, OFFER, Policy(deferred_until=NOW + 86_400 * 3), False, "deferred for 3 days"),
        (HERE, OFFER, Policy(deferred_until=NOW + 60), True, ""),
        (HERE, OFFER, Policy(deferred_until=NOW), False, ""),
        (HERE, OFFER, Policy(delay_s=7200), False, "60 minutes"),
        (HERE, OFFER, Policy(delay_s=3600), False, ""),
        (HERE, OFFER, Policy(delay_s=7200), True, ""),
        (HERE, replace(OFFER, security=True), Policy(delay_s=7200), False, ""),
        (HERE, replace(OFFER, security=True), Policy(deferred_until=NOW + 60), False, "60 seconds"),
    ],
)
def test_what_stands_against_a_release(
    state: RuntimeState, offer: Offer, policy: Policy, eager: bool, said: str
) -> None:
    found = obstacle(state, offer, policy, NOW, eager=eager)
    assert said in found
    assert bool(found) == bool(said)


def test_settings_go_before_what_was_pinned() -> None:
    state = replace(HERE, pin="1", channel="beta", delay_s=60, deferred_until=5)
    assert policy_of(state) == Policy("1", "beta", 60, 5)
    assert policy_of(state, pin="3", channel="stable", delay_s=0) == Policy("3", "stable", 0, 5)
