"""What a running app may ask of the daemon, call by call. The app's side of it is `pearrt.sdk`.

    method            fields               needs      result
    app.info          protocol             -          {protocol, link, name, version, permissions, methods}
    updates.status    -                    -          {running, ready, notes, security, widens}
    updates.apply     -                    -          the same, after looking for and installing the newest
    updates.restart   -                    terminal   {}; the app is started again when it ends
    storage.info      -                    -          {path, quota, used}
    log.write         level, text          -          {}
    open_url          url                  the yes    {opened}
    notify            title, body          notify     {}
    net.open          host, port           net.hosts  {socket: true} and a connected socket

Rules: identity comes from the channel and from nowhere else; what a call needs is looked up when it is made,
so that what the person revoked is refused at once; every call costs its app something of a rate, which all
instances of the app share; every text is bounded and of printable characters.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

from pearrt.app.apps import Apps
from pearrt.daemon.instance import Instance
from pearrt.daemon.rate import Bucket, Rate
from pearrt.errors import Denied, LimitExceeded, UserError
from pearrt.sandbox.policy import Permissions

PROTOCOL = 1
ANY_CALL = Rate(per_s=200, burst=400)
RATES = {
    "log.write": Rate(per_s=20, burst=200),
    "storage.info": Rate(per_s=2, burst=10),
    "net.open": Rate(per_s=10, burst=64),
}  # who is over one of these waits
REFUSING_RATES = {
    "notify": Rate(per_s=0.2, burst=5),
    "open_url": Rate(per_s=0.1, burst=3),
    "updates.apply": Rate(per_s=0.1, burst=2),
    "updates.restart": Rate(per_s=0.2, burst=3),
}  # over these it is told so: a person stands behind them, or other people's machines
MAX_LOG_CHARACTERS = 4096
MAX_TITLE_CHARACTERS = 200
MAX_BODY_CHARACTERS = 1000
LOG_LEVELS = ("debug", "info", "warning", "error")
QUESTION_TIMEOUT_S = 120.0
DESKTOP_TIMEOUT_S = 20.0

Result = tuple[Any, socket.socket | None]


class AppCalls:
    """Answers the calls of all channels; `answer` is what `Channels` is given."""

    def __init__(self, apps: Apps) -> None:
        self.apps = apps
        self._buckets: dict[tuple[bytes, str], Bucket] = {}
        self._methods: dict[str, Callable[[Instance, dict[str, Any]], Awaitable[Any]]] = {
            "app.info": self._info,
        }

    async def answer(self, instance: Instance, method: str, fields: dict[str, Any]) -> Result:
        """The result of one call. Raises PearrtError."""
        known = self._methods.get(method)
        await self._pace(instance, method if known else "")
        if known is None:
            raise UserError(f"There is no method {ascii(method)[:40]}.")
        return await known(instance, fields), None

    async def _pace(self, instance: Instance, method: str) -> None:
        """Waits until the app may call again. Raises LimitExceeded where it has to come back itself."""
        if (rate := REFUSING_RATES.get(method)) is not None:
            pause = self._bucket(instance, method, rate).take(time.monotonic())
            if pause:
                raise LimitExceeded(
                    f"{method} is called too often.", hint=f"Try again in {pause:.0f} seconds."
                )
        bucket = self._bucket(instance, method if method in RATES else "", RATES.get(method, ANY_CALL))
        while pause := bucket.take(time.monotonic()):  # noqa: ASYNC110 - nothing happens but time
            await asyncio.sleep(pause)

    def _bucket(self, instance: Instance, name: str, rate: Rate) -> Bucket:
        return self._buckets.setdefault((instance.app_key, name), Bucket(rate))

    def granted(self, instance: Instance) -> Permissions:
        """What this instance may do now: what its release asks for, inside what the person gave."""
        return instance.start.asked.within(self.apps.granted(instance.app_key))

    def _needs(self, instance: Instance, held: bool, name: str) -> None:
        if not held:
            raise Denied(
                f"The app has no permission {name}.",
                hint="Ask for it in the manifest; the person may have refused or revoked it.",
            )

    async def _info(self, instance: Instance, fields: dict[str, Any]) -> dict[str, Any]:
        wanted = fields.get("protocol", PROTOCOL)
        if not isinstance(wanted, int) or wanted < 1:
            raise UserError("The protocol is a whole number from 1.")
        return self.apps.about(instance.app_key) | {
            "version": instance.start.version,
            "protocol": min(wanted, PROTOCOL),
            "methods": sorted(self._methods),
        }
