"""One source of one download."""

from __future__ import annotations

from typing import Generic, TypeVar

from pearrt.swarm.flow import FlowWindow
from pearrt.swarm.have import HaveSet

P = TypeVar("P")

MAX_REMEMBERED_CANCELS = 256


class Source(Generic[P]):
    """A peer as one download sees it: what it holds, what it owes, how it behaved. `held` None: everything.

    `pending`: ordinals asked for and not here, in the order asked, with the time of asking. `asked`: ANY not
    yet answered. `dry_at`: `Picker.changes` when nothing could be asked of it.
    """

    __slots__ = (
        "asked",
        "asked_at",
        "cancelled",
        "delivered",
        "dry_at",
        "flow",
        "heard_at",
        "held",
        "key",
        "lies",
        "look_after",
        "near",
        "peer_id",
        "pending",
        "resting_until",
        "trials",
        "unasked",
    )  # fmt: skip

    def __init__(self, key: P, peer_id: bytes, held: HaveSet | None, near: bool, now: float) -> None:
        self.key = key
        self.peer_id = peer_id
        self.held = held
        self.near = near
        self.flow = FlowWindow()
        self.pending: dict[int, float] = {}
        self.cancelled: dict[int, float] = {}
        self.asked = 0
        self.asked_at = now
        self.heard_at = now
        self.resting_until = 0.0
        self.trials = 0
        self.delivered = 0
        self.lies = 0
        self.unasked = 0
        self.dry_at = -1
        self.look_after = 0.0

    def holds(self, ordinal: int) -> bool:
        return self.held is None or ordinal in self.held

    @property
    def outstanding(self) -> int:
        return len(self.pending) + self.asked

    def remember_cancel(self, ordinal: int, now: float) -> None:
        """A cancel and its block may cross: such a block is not held against the source."""
        if len(self.cancelled) >= MAX_REMEMBERED_CANCELS:
            self.cancelled.pop(next(iter(self.cancelled)))
        self.cancelled[ordinal] = now
