"""Staged rollout: a release reaches a growing part of all machines, with no server and nobody counted.

Each machine draws a random seed once and tells nobody. Together with the app and the release it gives a
bucket from 0 to 99, another one for each release, so that nobody is always first. A release is taken once
the percentage that its signers scheduled for the present exceeds the bucket; until then the release `before`
it stays current.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pearrt.crypto.hashes import tagged
from pearrt.trust.shape import Shape, time_text

MAX_STEPS = 16
BUCKETS = 100
SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class RolloutStep:
    """From `at` (seconds since 1970) on, `percent` (1 to 100) of all machines take the release."""

    at: float
    percent: int


Rollout = tuple[RolloutStep, ...]


def parse_rollout(custom: Shape) -> Rollout:
    """The field `rollout` of a release, () where it is absent. Raises ProtocolViolation."""
    if "rollout" not in custom.value:
        return ()
    steps = tuple(
        RolloutStep(step.time("at"), step.integer("percent", 1))
        for step in custom.objects("rollout", MAX_STEPS, "at", "percent")
    )
    if not steps:
        raise custom.refuse("rollout", "has no step")
    for earlier, later in pairwise(steps):
        if earlier.at >= later.at or earlier.percent >= later.percent:
            raise custom.refuse("rollout", "has steps that do not rise")
    if steps[-1].percent > BUCKETS:
        raise custom.refuse("rollout", "reaches more than all machines")
    return steps


def rollout_fields(rollout: Rollout) -> list[dict[str, Any]]:
    """What `parse_rollout` reads."""
    return [{"at": time_text(step.at), "percent": step.percent} for step in rollout]


def percent_at(rollout: Sequence[RolloutStep], now: float) -> int:
    """How many of 100 machines a release has reached; all at once where no rollout is scheduled."""
    if not rollout:
        return BUCKETS
    return max((step.percent for step in rollout if step.at <= now), default=0)


def bucket_of(app_id: str, index_digest: bytes, seed: bytes) -> int:
    """0 to 99. `app_id` is the 32 hex digits of the app's metadata, `seed` the machine's 32 random bytes."""
    drawn = tagged("pearrt-rollout-v1", bytes.fromhex(app_id) + index_digest + seed)
    return int.from_bytes(drawn[:8], "big") % BUCKETS
