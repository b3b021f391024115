"""How current trusted metadata is. It only informs: staleness never stops an app that is installed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

CLOCK_SKEW_S = 300.0


class FreshnessState(Enum):
    FRESH = "fresh"  # the publisher's heartbeat vouches for it
    STALE = "stale"  # a heartbeat is overdue: a newer release may exist
    UNKNOWN = "unknown"  # the publisher promises no heartbeat, or this machine's clock is behind


@dataclass(frozen=True, slots=True)
class Freshness:
    """`confirmed_at`: when the publisher last said that this is current, seconds since 1970."""

    state: FreshnessState
    confirmed_at: float


def judge(*, signed_at: float, period_s: int, expires: float, now: float) -> Freshness:
    """`expires` is the earliest of all roles. Expired is stale, even where no heartbeat is promised."""
    if now >= expires:
        state = FreshnessState.STALE
    elif period_s == 0 or now < signed_at - CLOCK_SKEW_S:
        state = FreshnessState.UNKNOWN
    else:
        state = FreshnessState.FRESH
    return Freshness(state, min(signed_at, now))
