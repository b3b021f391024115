"""The disk that an app's storage lies on, from one second to the next. A shell of the sandbox room.

Measuring a folder (`storage.py`) takes its time, and misses what was deleted and is still open, or is moved
about meanwhile. So how much the disk loses is looked at too: more than the app may keep, and its folder is
measured at once; that much and hardly anything left, and the app is stopped, whoever else wrote.
"""

from __future__ import annotations

import shutil
import time

from pearrt.errors import Denied, SandboxError
from pearrt.sandbox.policy import format_size
from pearrt.sandbox.storage import Meter

CHECK_S = 1.0
LEAST_FREE_BYTES = 512 << 20


class DiskFloor:
    """A bound beside a storage meter. Times are `time.monotonic()`. Raises SandboxError where the folder has
    just been removed; later that is for whoever removed it to tell the app."""

    def __init__(self, meter: Meter, now: float) -> None:
        self.meter = meter
        self.next_check = now + CHECK_S
        try:
            self._at_first = self._most_since = shutil.disk_usage(meter.folder).free
        except FileNotFoundError as e:
            raise SandboxError(
                "The app's storage is gone.",
                hint="Was the app just uninstalled? Running it again installs it.",
            ) from e

    def over(self) -> bool:
        """Looks when it is time to."""
        now = time.monotonic()
        if now < self.next_check:
            return False
        self.next_check = now + CHECK_S
        try:
            free, may_keep = shutil.disk_usage(self.meter.folder).free, self.meter.limit_bytes
        except FileNotFoundError:
            return False
        if self._most_since - free > may_keep:
            self.meter.next_check = now
            self._most_since = free
        self._most_since = max(self._most_since, free)
        return free < LEAST_FREE_BYTES and self._at_first - free > may_keep

    def refusal(self) -> Denied:
        """What the person is told."""
        return Denied(
            f"The app was stopped: the disk is nearly full, and lost more than "
            f"{format_size(self.meter.limit_bytes)} while it ran.",
            hint="What the app had deleted and still held open is free again. Make room on the disk.",
        )
