"""Running apps on their way from one daemon process to the next: their channels as hand-over items.

    apps       the listening socket
    token      {token, ttl_s, start}                 issued, and no app has come with it yet
    channel    {channel, start, held, restarting, circles?, half?}   `held`: bytes read, no whole frame yet;
                                                     `half`: the token that its attendant may still come with
    attendant  {channel, held, next_id}              the `pearrt run` of that channel

The two processes are different versions: a permission that one of them does not know is left aside.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from pearrt.app.start import Start
from pearrt.daemon.instance import Instance
from pearrt.daemon.wire import Wire
from pearrt.runtime.handover import Item
from pearrt.sandbox.policy import Permissions


def start_fields(start: Start) -> dict[str, Any]:
    """What `start_from` reads."""
    return {
        "app_key": start.app_key.hex(),
        "version": start.version,
        "index_digest": start.index_digest,
        "asked": asdict(start.asked),
    }


def start_from(given: Mapping[str, Any]) -> Start:
    """The start. Raises KeyError, ValueError, TypeError for what is none."""
    known = {item.name for item in fields(Permissions)}
    asked: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given["asked"].items()
        if name in known
    }
    return Start(
        bytes.fromhex(given["app_key"]),
        str(given["version"]),
        str(given["index_digest"]),
        Permissions(**asked),
    )


def items_of(number: int, instance: Instance, half: bytes | None) -> list[Item]:
    """One running app, and who attends it. Nothing may be read or written here any more."""
    found = [
        Item(
            "channel",
            {
                "channel": number,
                "start": start_fields(instance.start),
                "held": bytes(instance.wire.held).hex(),
                "restarting": instance.restarting,
                "circles": sorted(instance.circles),
                "half": half.hex() if half else "",
            },
            _duplicate(instance.wire),
        )
    ]
    if instance.attendant is not None:
        wire = instance.attendant.wire
        facts = {
            "channel": number,
            "held": bytes(wire.held).hex(),
            "next_id": instance.attendant.next_id(),
        }
        found.append(Item("attendant", facts, _duplicate(wire)))
    return found


def _duplicate(wire: Wire) -> int:
    return os.dup(wire.connection.fileno())
