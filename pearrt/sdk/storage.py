"""The app's private folder: kept by updates, seen by nobody else, removed when the app is uninstalled."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pearrt.sdk.channel import channel
from pearrt.sdk.errors import NotConnected


@dataclass(frozen=True)
class Usage:
    """Bytes on disk. An app that keeps more than its quota is stopped."""

    quota_bytes: int
    used_bytes: int

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Usage:
        return cls(int(fields["quota"]), int(fields["used"]))


def path() -> Path:
    """The folder. Raises NotConnected outside a sandbox."""
    given = os.environ.get("PEARRT_DATA")
    if not given:
        raise NotConnected(
            "There is no private storage outside a sandbox.", hint="Start the app with `pearrt run`."
        )
    return Path(given)


def usage() -> Usage:
    """How much may be kept, how much is. Raises sdk.Error."""
    return Usage.read(channel().call("storage.info").result())


def quota() -> int:
    """Bytes that the folder may hold. Raises sdk.Error."""
    return usage().quota_bytes


def used() -> int:
    """Bytes that the folder holds. Raises sdk.Error."""
    return usage().used_bytes
