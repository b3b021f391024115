"""One start of one release: what a channel is opened for, fixed before the app runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from pearrt.sandbox.policy import Permissions


@dataclass(frozen=True, slots=True)
class Start:
    """`index_digest` is hex; `asked` is what the release's manifest asks for."""

    app_key: bytes
    version: str = ""
    index_digest: str = ""
    asked: Permissions = field(default_factory=Permissions)
