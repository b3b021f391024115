"""Revoked releases: what the signers say of an index that should not have been released.

The top-level targets metadata lists them in `x-pearrt-revoked`, so they are signed by the app's signers, hold
for every channel, and go wherever the metadata goes. A revoked release is never installed anew; what becomes
of installed copies is the signers' `action`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pearrt.trust.shape import HEX_32, Shape

FIELD = "x-pearrt-revoked"
MAX_REVOCATIONS = 256
MAX_REASON_CHARS = 280

_ACTION = re.compile("warn|stop|return")


class Action(Enum):
    """What installed copies do: go on with a warning, not start any more, or go back to what is current."""

    WARN = "warn"
    STOP = "stop"
    RETURN = "return"


@dataclass(frozen=True, slots=True)
class Revocation:
    """`index_digest` names the release, whatever channel or platform it was released for."""

    index_digest: bytes
    action: Action
    reason: str


def parse_revocations(targets: Shape) -> tuple[Revocation, ...]:
    """The field of the targets metadata, () where it is absent. Raises ProtocolViolation."""
    if FIELD not in targets.value:
        return ()
    found = tuple(
        Revocation(
            bytes.fromhex(entry.match("digest", HEX_32)),
            Action(entry.match("action", _ACTION)),
            entry.words("reason", MAX_REASON_CHARS),
        )
        for entry in targets.objects(FIELD, MAX_REVOCATIONS, "digest", "action", "reason")
    )
    if len({revocation.index_digest for revocation in found}) != len(found):
        raise targets.refuse(FIELD, "names a release twice")
    return found


def revocation_fields(revocations: Iterable[Revocation]) -> list[dict[str, Any]]:
    """What `parse_revocations` reads."""
    return [
        {"digest": each.index_digest.hex(), "action": each.action.value, "reason": each.reason}
        for each in revocations
    ]
