"""The end of an app whose terminal was closed. A shell of the sandbox room.

The kernel tells the app (SIGHUP), which may ignore it. Without the permission `background` it is ended a
while later; an app that never had a terminal, of a service manager's say, has none to lose.
"""

from __future__ import annotations

import os
import time

from pearrt.errors import Denied

CHECK_S = 1.0
GRACE_S = 3.0  # what the app has to save and end by itself


class Hangup:
    """A bound of `supervise.Watch`: over once the terminal has been gone for GRACE_S. Times are
    `time.monotonic()`."""

    def __init__(self, now: float) -> None:
        self.had_one = _has_terminal()
        self.gone_since: float | None = None
        self.next_check = now + CHECK_S

    def over(self) -> bool:
        """Looks when it is time to."""
        now = time.monotonic()
        if now < self.next_check:
            return False
        self.next_check = now + CHECK_S
        if self.had_one and self.gone_since is None and not _has_terminal():
            self.gone_since = now
        return self.gone_since is not None and now - self.gone_since >= GRACE_S

    def refusal(self) -> Denied:
        """What is told, where anybody listens."""
        return Denied(
            "The app was stopped: its terminal was closed.",
            hint="Its publisher can ask to keep running without one with the permission `background`.",
        )


def _has_terminal() -> bool:
    """Whether this process's session has a terminal (tty(4)); a hang-up takes it away from all of it."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
