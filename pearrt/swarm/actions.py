"""What a download wants done, and what becomes of a block that came, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Request(Generic[P]):
    """Ask `source` for these blocks."""

    source: P
    ordinals: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ask(Generic[P]):
    """Ask `source` for any `count` blocks that we lack."""

    source: P
    count: int


@dataclass(frozen=True, slots=True)
class Cancel(Generic[P]):
    """These blocks are no longer wanted from `source`."""

    source: P
    ordinals: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Condemn(Generic[P]):
    """`source` broke the rules or is useless: drop it."""

    source: P
    reason: str


Action = Request[P] | Ask[P] | Cancel[P] | Condemn[P]


class Arrival(Enum):
    """What to do with a block that came: store it, or leave it."""

    NEW = "new"
    DUPLICATE = "duplicate"
    UNASKED = "unasked"
