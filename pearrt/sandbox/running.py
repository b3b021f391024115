"""The apps that this process runs now. For other threads than the one that waits for an app: what they send
never meets another process."""

from __future__ import annotations

import threading
from typing import Protocol

lock = threading.Lock()


class Running(Protocol):
    """An app that was started from here; in `apps` while it runs, and then only."""

    def signal(self, number: int) -> None:
        """Passes a signal on, or does what comes nearest to it."""


apps: set[Running] = set()


def signal_running(number: int) -> int:
    """Sends a signal to every app that this process runs now; gives how many those are."""
    with lock:
        for app in apps:
            app.signal(number)
        return len(apps)
