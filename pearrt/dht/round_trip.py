"""How long this node's requests take to be answered: the estimate that tells a late answer from a slow
network.

Jacobson's smoothed mean and deviation (RFC 6298, section 2), over all nodes together: one number is enough to
decide when a lookup should ask somebody else besides.
"""

from __future__ import annotations

_GAIN = 1 / 8
_DEVIATION_GAIN = 1 / 4
_DEVIATIONS = 4


class RoundTrip:
    """Times in seconds. `late_after_s` begins at `most_s` and stays within `least_s` and `most_s`."""

    __slots__ = ("_deviation", "_least_s", "_mean", "_most_s")

    def __init__(self, *, least_s: float, most_s: float) -> None:
        self._least_s = least_s
        self._most_s = most_s
        self._mean: float | None = None
        self._deviation = 0.0

    def measured(self, seconds: float) -> None:
        """A request was answered after `seconds`."""
        if self._mean is None:
            self._mean, self._deviation = seconds, seconds / 2
            return
        self._deviation += _DEVIATION_GAIN * (abs(seconds - self._mean) - self._deviation)
        self._mean += _GAIN * (seconds - self._mean)

    @property
    def late_after_s(self) -> float:
        """An answer that takes longer than this is late."""
        if self._mean is None:
            return self._most_s
        return min(self._most_s, max(self._least_s, self._mean + _DEVIATIONS * self._deviation))
