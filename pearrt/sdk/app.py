"""Who the app is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pearrt.sdk import PROTOCOL
from pearrt.sdk.channel import channel

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
