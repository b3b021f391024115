"""What long work tells whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias


class Stage(StrEnum):
    """Where on the line the work is, in the order of the line."""

    FINDING = "finding"  # looking for peers
    VERIFYING = "verifying"  # metadata: who signed, what is current
    FETCHING = "fetching"  # blocks; done and total are stored bytes
    UNPACKING = "unpacking"  # done and total are unpacked bytes
    STAGING = "staging"  # done and total are bytes read
    READING = "reading"  # a .pear file; done and total are stored bytes
    WRITING = "writing"  # a .pear file; done is bytes written, total is not known
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Progress:
    """One step. `sources` maps a short peer id to the bytes that came from it."""

    stage: Stage
    done: int = 0
    total: int = 0
    detail: str = ""
    sources: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


Report: TypeAlias = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """For who does not want to know."""
