"""Requests in flight: transaction id -> whom we asked and on whose behalf.

An answer counts only with a transaction id that is open and from the very address that was asked (spoofed
sources fail both). Ids are 4 random bytes. Every request becomes late after some round trips, at most the short timeout,
and fails after the full one; both are the same for all, so two queues in order of sending hold the deadlines.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass

from pearrt.dht.contact import Address, Contact
from pearrt.dht.operations import Operation
from pearrt.dht.round_trip import RoundTrip

TRANSACTION_BYTES = 4
LEAST_LATE_S = 0.15  # a busy node on a fast network is not late yet


@dataclass(slots=True)
class Pending:
    """One open request. `operation` is None for the node's own housekeeping. `write` marks announce_peer and
    put."""

    contact: Contact
    operation: Operation | None
    write: bool
    sent: float
    open: bool = True


class Requests:
    """All requests in flight of one node."""

    __slots__ = ("_full_s", "_late", "_max", "_open", "_rng", "_round_trip", "_timeout")

    def __init__(
        self, *, short_timeout_s: float, full_timeout_s: float, limit: int, rng: random.Random
    ) -> None:
        self._round_trip = RoundTrip(least_s=min(LEAST_LATE_S, short_timeout_s), most_s=short_timeout_s)
        self._full_s = full_timeout_s
        self._max = limit
        self._rng = rng
        self._open: dict[bytes, Pending] = {}
        self._late: deque[Pending] = deque()
        self._timeout: deque[tuple[bytes, Pending]] = deque()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether no further request may be opened."""
        return len(self._open) >= self._max

    def open(self, contact: Contact, operation: Operation | None, write: bool, now: float) -> bytes:
        """Registers a request that is about to be sent and returns its transaction id."""
        transaction = self._rng.getrandbits(32).to_bytes(TRANSACTION_BYTES)
        while transaction in self._open:
            transaction = self._rng.getrandbits(32).to_bytes(TRANSACTION_BYTES)
        pending = Pending(contact, operation, write, now)
        self._open[transaction] = pending
        if operation is not None and not write:
            self._late.append(pending)
        self._timeout.append((transaction, pending))
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

    def next_deadline(self) -> float | None:
        """When the next open request becomes late or fails."""
        late, timeout = self._late, self._timeout
        while late and not late[0].open:
            late.popleft()
        while timeout and not timeout[0][1].open:
            timeout.popleft()
        deadlines = [late[0].sent + self._round_trip.late_after_s] if late else []
        if timeout:
            deadlines.append(timeout[0][1].sent + self._full_s)
        return min(deadlines, default=None)

    def take_late(self, now: float) -> list[Pending]:
        """The open requests that have just become late."""
        late: list[Pending] = []
        late_s = self._round_trip.late_after_s
        while self._late and (not self._late[0].open or self._late[0].sent + late_s <= now):
            pending = self._late.popleft()
            if pending.open:
                late.append(pending)
        return late

    def take_failed(self, now: float) -> list[Pending]:
        """The requests whose full timeout is over, now closed."""
        failed: list[Pending] = []
        queue = self._timeout
        while queue and (not queue[0][1].open or queue[0][1].sent + self._full_s <= now):
            transaction, pending = queue.popleft()
            if pending.open:
                pending.open = False
                del self._open[transaction]
                failed.append(pending)
        return failed
