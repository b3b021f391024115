"""Which outstanding block another source should rather bring.

A block waits in its owner's line for (position + 1) x the owner's mean interval, less the time it has been
silent; and who has been silent for so long will, as far as anybody knows, be silent for as long again. Taking
over pays if the new source is at least TAKE_OVER_GAIN times sooner. A block behind the head of a line is
cancelled there, which costs a message; the head is probably under way and may come twice, so it is left alone
unless it is overdue or the download may still afford a double.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pearrt.swarm.source import Source

P = TypeVar("P")

TAKE_OVER_GAIN = 2.0
TAKE_OVER_MARGIN_S = 0.05
OVERDUE_INTERVALS = 4.0
OVERDUE_MIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Takeover(Generic[P]):
    """`ordinal` should move from `owner`; `waiting`: it is not yet under way there, so cancel it."""

    owner: Source[P]
    ordinal: int
    waiting: bool


def best_takeover(
    source: Source[P],
    owners: Iterable[Source[P]],
    is_single: Callable[[int], bool],
    *,
    may_double: bool,
    now: float,
) -> Takeover[P] | None:
    """What `source`, which has room, should take from one of `owners`; only of blocks that a single one
    owes.
    """
    longest = TAKE_OVER_GAIN * source.flow.wait(source.outstanding) + TAKE_OVER_MARGIN_S
    best: Takeover[P] | None = None
    for owner in owners:
        if owner is source or not owner.pending:
            continue
        silence = now - max(owner.heard_at, next(iter(owner.pending.values())))
        head_may_move = may_double or silence > max(OVERDUE_MIN_S, OVERDUE_INTERVALS * owner.flow.wait(0))
        for position, ordinal in enumerate(owner.pending):
            wait = max(owner.flow.wait(position) - silence, silence * (position + 1))
            if wait <= longest or (position == 0 and not head_may_move):
                continue
            if source.holds(ordinal) and ordinal not in source.cancelled and is_single(ordinal):
                best, longest = Takeover(owner, ordinal, position > 0), wait
    return best
