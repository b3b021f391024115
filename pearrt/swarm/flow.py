"""The request window of one source: how many blocks to have outstanding there.

The window follows 2x the bandwidth-delay product, measured, not configured: rate is the moving average of the
time between arrivals, delay the least time from asking to arrival seen of late. While the window itself is
the limit the rate is window / delay, so the target is twice the window and it doubles per round trip; once
the path is the limit the target settles at twice what the path holds (the shape of TCP Vegas and BBR, counted
in blocks).

A standing queue would hide the true delay, so every PROBE_EVERY_S the window is halved until a block that was
asked for after that has come: its delay is measured with an all but empty queue, and the path still stays
busy.
"""

from __future__ import annotations

MIN_WINDOW = 2
START_WINDOW = 4
MAX_WINDOW = 64
GAIN = 2.0
BATCH_S = 0.02  # a fast source gets at least so much of its rate, so that one REQUEST names many blocks
MEMORY = 0.8  # weight of the past in the moving average
PROBE_EVERY_S = 10.0
UNKNOWN_INTERVAL_S = 0.25
MIN_SILENCE_S = 4.0
MAX_SILENCE_S = 30.0
UNPROVEN_SILENCE_S = 8.0


class FlowWindow:
    """Adaptive window, in blocks."""

    __slots__ = (
        "_delay",
        "_delay_before",
        "_last_arrival",
        "_probe_began",
        "_probing",
        "_window",
        "interval",
    )

    def __init__(self) -> None:
        self._window = float(START_WINDOW)
        self._delay = self._delay_before = float("inf")  # least, since the last probe and before it
        self._probe_began = float("-inf")
        self._probing = False
        self._last_arrival: float | None = None
        self.interval: float | None = None

    @property
    def window(self) -> int:
        return int(self._window)

    @property
    def proven(self) -> bool:
        """Whether the source ever delivered."""
        return self.interval is not None

    def arrived(self, now: float, asked_at: float) -> None:
        """A block that was asked for at `asked_at` came."""
        delay = max(now - asked_at, 1e-6)
        self._delay = min(self._delay, delay)
        start = asked_at if self._last_arrival is None else max(self._last_arrival, asked_at)
        gap = max(now - start, 1e-6)
        self.interval = gap if self.interval is None else MEMORY * self.interval + (1 - MEMORY) * gap
        self._last_arrival = now
        if self._probing and asked_at >= self._probe_began:
            self._probing = False
        if self._probing:
            return
        if self._probe_began == float("-inf"):
            self._probe_began = now
        elif now - self._probe_began > PROBE_EVERY_S:
            self._begin_probe(now)
            return
        least = min(self._delay, self._delay_before)
        target = max(GAIN * least / self.interval + 1, BATCH_S / self.interval, MIN_WINDOW)
        target = min(target, MAX_WINDOW)
        self._window = (
            min(self._window + 1, target) if target > self._window else max(self._window - 0.25, target)
        )

    def _begin_probe(self, now: float) -> None:
        self._delay_before, self._delay = self._delay, float("inf")
        self._probe_began, self._probing = now, True
        self._window = max(self._window / 2, MIN_WINDOW)

    def shrink(self) -> None:
        """The source is busy or silent: start over with one block."""
        self._window = 1.0

    def wait(self, position: int) -> float:
        """Expected seconds until the source has delivered the `position`-th (from 0) of its outstanding
        blocks.
        """
        return (position + 1) * (self.interval if self.interval is not None else UNKNOWN_INTERVAL_S)

    def silence_limit(self) -> float:
        """Seconds without a block after which the source counts as silent."""
        if self.interval is None:
            return UNPROVEN_SILENCE_S
        return min(max(MIN_SILENCE_S, 8 * self.interval), MAX_SILENCE_S)
