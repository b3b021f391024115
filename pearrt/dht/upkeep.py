"""A node's housekeeping: what is due when, so that its table stays fresh at little traffic.

    join       look up our own id: soon after the start, every 10 minutes, and while hardly anybody is known,
               with ever longer pauses, through the first nodes
    refresh    ask the entry unheard of for longest (15 minutes) for an id of its own bucket: a ping that also
               refreshes the bucket
    fill       ask for ids of shallow buckets with room, each about every 15 minutes: looking up our own id
               fills only the deep ones
    expire     drop what is past its lifetime, every minute

`due` does no chore itself; the node does what it returns. Between two calls at least one period passes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from pearrt.dht.contact import Contact
from pearrt.dht.routing import RoutingTable
from pearrt.dht.settings import DhtSettings

FEW_NODES = 8
_EXPIRE_PERIOD_S = 60.0
_IDLE_PERIOD_S = 60.0


@dataclass(frozen=True, slots=True)
class Chores:
    """What to do now: join, ask contacts for targets, expire."""

    join: bool
    asks: tuple[tuple[Contact, bytes], ...]
    expire: bool


class Upkeep:
    """Keeps the due times of one node's chores. `next_at` is when `due` wants to be called again."""

    __slots__ = (
        "_expire_at", "_fill_at", "_filled", "_refresh_at", "_rejoin_at", "_rejoin_pause_s", "_rng",
        "_self_lookup_at", "_settings", "next_at",
    )  # fmt: skip

    def __init__(self, settings: DhtSettings, rng: random.Random, now: float) -> None:
        self._settings = settings
        self._rng = rng
        self._rejoin_at = now
        self._rejoin_pause_s = settings.bootstrap_retry_s
        self._self_lookup_at = now
        self._refresh_at = now
        self._fill_at = now
        self._filled: dict[int, float] = {}
        self._expire_at = now + _EXPIRE_PERIOD_S
        self.next_at = now + rng.random() * settings.maintenance_period_s

    def joining(self, now: float) -> None:
        """Our own id is being looked up, whatever the reason: no need to for a while."""
        jitter = 0.9 + 0.2 * self._rng.random()
        self._self_lookup_at = now + self._settings.self_lookup_period_s * jitter
        self._rejoin_at = now + self._rejoin_pause_s

    def id_changed(self, now: float) -> None:
        """The buckets are others now."""
        self._filled.clear()
        self._fill_at = now

    def due(self, now: float, table: RoutingTable, *, first_nodes: bool) -> Chores:
        """What is due at `now`. `first_nodes`: whether there is anybody to join through."""
        lonely = first_nodes and len(table) < FEW_NODES
        join = self._join_is_due(now, table, lonely)
        asks = [*self._refresh(now, table), *self._fill(now, table)]
        expire = now >= self._expire_at
        if expire:
            self._expire_at = now + _EXPIRE_PERIOD_S
        due = min(self._self_lookup_at, self._refresh_at, self._fill_at, self._expire_at)
        soonest = now + self._settings.maintenance_period_s
        self.next_at = max(soonest, min(due, self._rejoin_at) if lonely else due)
        return Chores(join, tuple(asks), expire)

    def _join_is_due(self, now: float, table: RoutingTable, lonely: bool) -> bool:
        if not lonely:
            self._rejoin_pause_s = self._settings.bootstrap_retry_s
        elif now >= self._rejoin_at:
            self._rejoin_pause_s = min(2 * self._rejoin_pause_s, self._settings.bootstrap_retry_max_s)
            return True
        return now >= self._self_lookup_at and len(table) > 0

    def _refresh(self, now: float, table: RoutingTable) -> list[tuple[Contact, bytes]]:
        if now < self._refresh_at:
            return []
        self._refresh_at = now + _IDLE_PERIOD_S
        entry = table.stalest()
        if entry is None:
            return []
        due = entry.seen + self._settings.stale_after_s
        if due > now:
            self._refresh_at = min(self._refresh_at, due)
            return []
        self._refresh_at = now
        return [(entry.contact, table.refresh_target(entry.contact, self._rng))]

    def _fill(self, now: float, table: RoutingTable) -> list[tuple[Contact, bytes]]:
        if now < self._fill_at:
            return []
        sizes = dict(table.buckets())
        period_s = self._settings.stale_after_s
        for index in range(max(sizes, default=0)):
            has_room = sizes.get(index, 0) < self._settings.bucket_size
            if has_room and now >= self._filled.get(index, -period_s) + period_s:
                self._filled[index] = now
                target = table.target_in(index, self._rng)
                return [(contact, target) for contact in table.closest(target, 1)]
        self._fill_at = now + _IDLE_PERIOD_S
        return []
