"""Requests in flight: transaction id -> whom we asked and on whose behalf.

An answer counts only with a transaction id that is open and from the very address that was asked (spoofed
sources fail both). Ids are 4 random bytes. A lookup's request becomes late after some round trips, overdue
after the short timeout; every request fails after the full one. Each of these spans is the same for all at
any time, so queues in order of sending hold the deadlines.
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from pearrt.dht.contact import Address, Contact
from pearrt.dht.operations import Operation
from pearrt.dht.round_trip import RoundTrip

TRANSACTION_BYTES = 4
LEAST_LATE_S = 0.15  # a busy node on a fast network is not late yet


class Purpose(Enum):
    """What a request is for: housekeeping, a step of a lookup, widening a lookup's result, or a store."""

    UPKEEP = auto()
    SEARCH = auto()
    WIDEN = auto()
    WRITE = auto()


@dataclass(slots=True)
class Pending:
    """One open request. Housekeeping has no operation."""

    transaction: bytes
    contact: Contact
    operation: Operation | None
    purpose: Purpose
    sent: float
    open: bool = True


class Requests:
    """All requests in flight of one node."""

    __slots__ = (
        "_full_s",
        "_late",
        "_max",
        "_open",
        "_overdue",
        "_rng",
        "_round_trip",
        "_short_s",
        "_timeout",
    )

    def __init__(
        self, *, short_timeout_s: float, full_timeout_s: float, limit: int, rng: random.Random
    ) -> None:
        self._round_trip = RoundTrip(least_s=min(LEAST_LATE_S, short_timeout_s), most_s=short_timeout_s)
        self._short_s = short_timeout_s
        self._full_s = full_timeout_s
        self._max = limit
        self._rng = rng
        self._open: dict[bytes, Pending] = {}
        self._late: deque[Pending] = deque()
        self._overdue: deque[Pending] = deque()
        self._timeout: deque[Pending] = deque()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether no further request may be opened."""
        return len(self._open) >= self._max

    def open(self, contact: Contact, operation: Operation | None, purpose: Purpose, now: float) -> bytes:
        """Registers a request that is about to be sent and returns its transaction id."""
        transaction = self._rng.getrandbits(32).to_bytes(TRANSACTION_BYTES)
        while transaction in self._open:
            transaction = self._rng.getrandbits(32).to_bytes(TRANSACTION_BYTES)
        pending = Pending(transaction, contact, operation, purpose, now)
        self._open[transaction] = pending
        if purpose in (Purpose.SEARCH, Purpose.WIDEN):
            self._late.append(pending)
            self._overdue.append(pending)
        self._timeout.append(pending)
        return transaction

    def close(self, transaction: bytes, source: Address, now: float) -> Pending | None:
        """The request that an answer from `source` belongs to, now closed; None if there is none."""
        pending = self._open.get(transaction)
        if pending is None or pending.contact.address != source:
            return None
        del self._open[transaction]
        pending.open = False
        self._round_trip.measured(now - pending.sent)
        return pending

    def next_deadline(self) -> float:
        """When the next open request becomes late or overdue, or fails; infinity if none is open."""
        return min(
            _first_sent(self._late) + self._round_trip.late_after_s,
            _first_sent(self._overdue) + self._short_s,
            _first_sent(self._timeout) + self._full_s,
        )

    def take_late(self, now: float) -> list[Pending]:
        """The open requests that have just become late."""
        return _take(self._late, self._round_trip.late_after_s, now)

    def take_overdue(self, now: float) -> list[Pending]:
        """The open requests that have just become overdue."""
        return _take(self._overdue, self._short_s, now)

    def take_failed(self, now: float) -> list[Pending]:
        """The requests whose full timeout is over, now closed."""
        failed = _take(self._timeout, self._full_s, now)
        for pending in failed:
            pending.open = False
            del self._open[pending.transaction]
        return failed


def _first_sent(queue: deque[Pending]) -> float:
    """When the oldest open request in `queue` was sent."""
    while queue and not queue[0].open:
        queue.popleft()
    return queue[0].sent if queue else math.inf


def _take(queue: deque[Pending], span_s: float, now: float) -> list[Pending]:
    """Removes and returns the open requests that were sent `span_s` ago or earlier, by `next_deadline`'s
    sum.
    """
    taken: list[Pending] = []
    while _first_sent(queue) + span_s <= now:
        taken.append(queue.popleft())
    return taken
