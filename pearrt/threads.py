"""Threads beside a main thread that waits for signals: they are born with every signal blocked, so that each
one is the main thread's. Windows delivers them there anyway."""

from __future__ import annotations

import signal
import sys
import threading


def start_without_signals(thread: threading.Thread) -> None:
    """Starts the thread; it and all that it starts get no signal."""
    if sys.platform == "win32":
        thread.start()
    else:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            thread.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
