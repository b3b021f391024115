"""Who the app is, and what it is told.

    for event in sdk.app.events():
        if event["event"] == "permission-revoked":
            print("no longer allowed:", event["permission"])

`permission-revoked` {permission}: the person took it back. `revoked` {version, action, reason}: its signers
warn of this version; with the action `stop` it is ended in some seconds. Newer versions and circles have
calls of their own: `sdk.updates`, `sdk.p2p`.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pearrt.sdk import PROTOCOL
from pearrt.sdk.channel import channel
from pearrt.sdk.errors import NotConnected

FIELDS = {"protocol": PROTOCOL}


@dataclass(frozen=True)
class Info:
    """`version` is the one that runs; `permissions` what it may do beyond its own files, right now: `notify`,
    or `host:port`s. `protocol` is what both sides speak, `methods` what the daemon knows."""

    link: str
    name: str
    version: str
    protocol: int
    permissions: tuple[str, ...] = ()
    methods: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Info:
        return cls(
            link=fields["link"],
            name=fields["name"],
            version=fields["version"],
            protocol=fields["protocol"],
            permissions=tuple(fields["permissions"]),
            methods=tuple(fields["methods"]),
        )


def info() -> Info:
    """Raises sdk.Error."""
    return Info.read(channel().call("app.info", **FIELDS).result())


def events() -> Iterator[dict[str, Any]]:
    """What the daemon tells the app from the first `next` on, each with its name as `event`; waits in
    between. Raises NotConnected when the daemon has gone."""
    told: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    channel().listen(told.put)
    try:
        while (event := told.get())["event"] != "ended":
            yield event
    finally:
        channel().unlisten(told.put)
    raise NotConnected("The daemon has gone.", code="unreachable")
