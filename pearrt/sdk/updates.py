"""Newer versions of the app: they arrive by themselves, and start at the next start or when the app says so.

A restart keeps the terminal and the arguments: call `restart()`, end the app as it would always end, and
`pearrt run` starts the version that is ready then. A version that asks for more than the person approved
(`widens`) waits for the person's yes; until then the old one is started again.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pearrt.sdk.channel import channel
from pearrt.sdk.errors import Error, NotConnected

READY = "update-ready"


@dataclass(frozen=True)
class Update:
    """A newer version. `security`: its signers say that it closes a hole."""

    version: str
    notes: str = ""
    security: bool = False
    widens: bool = False

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Update:
        return cls(
            version=str(fields.get("version", "")),
            notes=str(fields.get("notes", "")),
            security=fields.get("security") is True,
            widens=fields.get("widens") is True,
        )


@dataclass(frozen=True)
class Status:
    """`running` is this process's version, `ready` the newer one that is here, if there is one."""

    running: str
    ready: Update | None = None

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Status:
        ready = fields.get("ready")
        return cls(str(fields["running"]), Update.read(ready) if isinstance(ready, dict) else None)


def status() -> Status:
    """Raises sdk.Error."""
    return Status.read(channel().call("updates.status").result())


def apply() -> Status:
    """Looks for a newer version now and brings it here. Raises sdk.Error, TooMuch when asked too often."""
    return Status.read(channel().call("updates.apply").result())


def restart() -> None:
    """Asks to be started again once this process has ended, which is still to be done.

    Raises Denied where nobody would do it.
    """
    channel().call("updates.restart").result()


def on_ready(callback: Callable[[Update], None]) -> None:
    """Calls `callback` for a version that is ready already and for each that becomes so, in a thread of its
    own."""

    def run() -> None:
        try:
            for update in ready():
                callback(update)
        except NotConnected:
            return

    threading.Thread(target=run, name="pearrt-updates", daemon=True).start()


def ready() -> Iterator[Update]:
    """The version that is ready already, if any, then each that becomes so; waits in between. Raises
    NotConnected when the daemon has gone."""
    events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    channel().listen(events.put)
    try:
        told = status().ready
        if told is not None:
            yield told
        while (event := events.get())["event"] != "ended":
            if event["event"] == READY and (update := Update.read(event)) != told:
                told = update
                yield update
    finally:
        channel().unlisten(events.put)
    raise NotConnected("The daemon has gone.", code="unreachable")


def wait(timeout_s: float | None = None) -> Update:
    """Waits until a newer version is ready. Raises sdk.Error after `timeout_s`."""
    found: queue.SimpleQueue[Update] = queue.SimpleQueue()
    on_ready(found.put)
    try:
        return found.get(timeout=timeout_s)
    except queue.Empty:
        raise Error(f"No update within {timeout_s} s.", code="peer-timeout") from None
