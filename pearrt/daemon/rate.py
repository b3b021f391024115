"""How often an app may call: token buckets, one per app and kind of call. Pure: `now` comes in."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` calls at once, then `per_s` a second."""

    per_s: float
    burst: int


@dataclass(slots=True)
class Bucket:
    """What is left of a rate. Full at first; `now` is monotonic seconds and never falls."""

    rate: Rate
    left: float = field(init=False)
    at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.left = float(self.rate.burst)

    def take(self, now: float) -> float:
        """Takes one; gives 0, or, where there is none, how many seconds until there is (nothing is taken)."""
        self.left = min(float(self.rate.burst), self.left + max(0.0, now - self.at) * self.rate.per_s)
        self.at = now
        if self.left >= 1:
            self.left -= 1
            return 0.0
        return (1 - self.left) / self.rate.per_s
