"""How often an app may ask its person something: after several noes in a row later and later, so that nobody
is worn down to a yes. Pure: `now` is monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from pearrt.errors import LimitExceeded

FREE_NOES = 3  # in a row; silence counts as a no
FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 3600.0


@dataclass(slots=True)
class Patience:
    """One app's, for questions of every kind and all of its instances."""

    noes: int = 0
    until: float = 0.0

    def check(self, now: float) -> None:
        """Raises LimitExceeded while the person is to be left alone."""
        if now < self.until:
            raise LimitExceeded(
                f"The person said no {self.noes} times.",
                hint=f"Ask again in {self.until - now:.0f} seconds, and only for what they expect.",
            )

    def told(self, yes: bool, now: float) -> None:
        """Notes an answer."""
        self.noes = 0 if yes else self.noes + 1
        if self.noes >= FREE_NOES:
            pause_s = FIRST_PAUSE_S * 2.0 ** min(self.noes - FREE_NOES, 16)
            self.until = now + min(pause_s, LONGEST_PAUSE_S)
