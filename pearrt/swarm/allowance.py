"""A token bucket: how often somebody may do something."""

from __future__ import annotations


class Allowance:
    """`burst` at once, `per_s` in the long run."""

    __slots__ = ("_at", "_burst", "_per_s", "_tokens")

    def __init__(self, *, burst: float, per_s: float, now: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._tokens = burst
        self._at = now

    def take(self, now: float, count: float = 1.0) -> bool:
        """Takes `count` tokens if they are there."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._per_s)
        self._at = max(self._at, now)
        if self._tokens < count:
            return False
        self._tokens -= count
        return True
