"""What the bootstrapper says while it works: one line that changes on a terminal, a few lines elsewhere. All
of it on stderr: stdout is the app's."""

from __future__ import annotations

import sys
import time

EVERY_S = 0.1
WIDTH = 78


class Screen:
    """`step` names what goes on, `progress` says how far. Silent where `quiet`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._stream = sys.stderr
        self._quiet = quiet
        self._live = not quiet and self._stream.isatty()
        self._what = ""
        self._began = self._drawn = 0.0
        self._open = False

    def step(self, what: str) -> None:
        """Begins a step: a line of its own."""
        self.clear()
        self._what, self._began, self._drawn = what, time.monotonic(), 0.0
        self._write(f"{what} …" if self._live else f"pearrt: {what}\n")
        self._open = self._live

    def progress(self, done: int, total: int) -> None:
        """How far the step is, in bytes."""
        now = time.monotonic()
        if not self._live or (now - self._drawn < EVERY_S and done < total):
            return
        self._drawn = now
        rate = done / max(now - self._began, 0.001)
        share = 100 * done // total if total else 100
        text = f"{self._what} {share:3d} %  {size(done)} of {size(total)}  {size(int(rate))}/s"
        self._write(f"\r{text[:WIDTH]:<{WIDTH}}")
        self._open = True

    def say(self, text: str) -> None:
        """One line that stays."""
        self.clear()
        self._write(f"pearrt: {text}\n")

    def clear(self) -> None:
        """Leaves the terminal as it was found."""
        if self._open:
            self._write(f"\r{' ' * WIDTH}\r")
            self._open = False

    def _write(self, text: str) -> None:
        if not self._quiet:
            self._stream.write(text)
            self._stream.flush()


def size(count: int) -> str:
    """Bytes for people: 12.3 MB."""
    number = float(count)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
