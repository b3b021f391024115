"""One bundle's download: whom to ask for what, and when to ask somebody else. Sans-I/O: events and `now` in,
actions out.

Rules:
- A block is asked of one source at a time, except for a bounded number of overdue ones at the end.
- A source has as many blocks outstanding as its window says (`flow.py`: 2x bandwidth-delay product).
- A lone seed among several leechers is asked for "any block I lack" (ANY), so that it sends each block once
  before any twice; what it promises is no longer asked of others, and what is promised in vain is cancelled.
- The machines of a site share the work of fetching from outside: each takes the ordinals that leave its rank
  among them as remainder, and the others' part only once its own has been done for SHARE_GRACE_S.
- With nothing free left, a source with room takes over blocks that wait in a longer line elsewhere: the old
  request is cancelled, so this costs a message, not a block. Only a block at the head of a line, probably
  under way, may come twice, and only once it is overdue.
- A silent source loses its requests and gets one trial at a time, ever later. A late block is still welcome.
- A block is held once the store verified it. One that fails condemns exactly the source that sent it.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Generic, TypeVar

from pearrt.swarm.actions import Action, Arrival, Ask, Cancel, Condemn, Request
from pearrt.swarm.flow import MIN_WINDOW
from pearrt.swarm.have import HaveSet
from pearrt.swarm.picker import WHOLE, Picker, Share
from pearrt.swarm.source import Source
from pearrt.swarm.takeover import best_takeover

P = TypeVar("P")

ANY_MAX_SEEDS = 2  # with more complete sources, plain rarest-first spreads the load well enough
ANY_WINDOW = 2
ANY_MAX_IN_VAIN = 8  # beyond a quarter of all: we want only part of what we lack, or hold it by now
MAX_OUTSTANDING = 160  # blocks asked for and not here, 40 MiB; beyond it each source keeps its least window
MAX_LIES = 3
MAX_UNASKED = 8
TRIAL_AFTER_S = 10.0
MAX_TRIALS = 4
NEAR_PATIENCE_S = 5.0
SHARE_GRACE_S = 2.0
TAKE_OVER_EVERY_S = 0.05  # looking through all lines costs time
MIN_DOUBLED = 2
DOUBLED_ONE_IN = 64


class BundleFetch(Generic[P]):
    """The download of `wanted` (ordinals in range(total)) from sources that come and go.

    Counters: `remaining` blocks not yet verified, `arrived_twice` blocks that came in vain.
    """

    def __init__(
        self, total: int, wanted: Iterable[int], rng: Random, *, own_id: bytes = b"", use_any: bool = True
    ) -> None:
        ordinals = sorted(set(wanted))
        if ordinals and not 0 <= ordinals[0] <= ordinals[-1] < total:
            raise ValueError("wanted blocks outside the bundle")
        self.total = total
        self.missing = HaveSet(total, ordinals)
        self.paused = False
        self.spare_far = True
        self.arrived_twice = 0
        self._use_any = use_any
        self._own_id = own_id
        self._doubled = 0
        self._promises = 0
        self._in_vain = 0
        self._near_heard_at: float | None = None
        self._share_done_at: float | None = None
        self._rng = rng
        self._picker = Picker(total, ordinals, rng)
        self._sources: dict[P, Source[P]] = {}
        self._owners: dict[int, list[Source[P]]] = {}
        self._checking: dict[int, P] = {}
        self._actions: list[Action[P]] = []

    # -- what is going on

    @property
    def remaining(self) -> int:
        return self.missing.count

    @property
    def done(self) -> bool:
        return not self.missing.count

    @property
    def outstanding(self) -> int:
        """Blocks asked for and not yet here."""
        return len(self._owners)

    @property
    def sources(self) -> list[P]:
        return list(self._sources)

    def want(self, ordinals: Iterable[int]) -> None:
        """Further blocks to fetch."""
        for ordinal in ordinals:
            if self.missing.add(ordinal):
                self._picker.release(ordinal)

    # -- sources come, learn and go

    def add_source(
        self, key: P, held: HaveSet | None, *, peer_id: bytes = b"", near: bool = False, now: float
    ) -> None:
        """A peer that holds `held` (None: everything). The set is copied. Replaces what was known of it."""
        if key in self._sources:
            self.remove_source(key, now)
        if held is not None and held.complete:
            held = None
        source = Source(key, peer_id, held.copy() if held is not None else None, near, now)
        self._sources[key] = source
        if source.held is None:
            self._picker.add_seed(near)
        else:
            for ordinal in source.held:
                self._picker.add_copy(ordinal, near)

    def add_have(self, key: P, ordinals: Iterable[int]) -> None:
        """A peer announced blocks. Ordinals outside the bundle are the caller's to refuse."""
        source = self._sources.get(key)
        if source is None or source.held is None:
            return
        for ordinal in ordinals:
            if source.held.add(ordinal):
                source.dry_at = -1
                self._picker.add_copy(ordinal, source.near)
        if source.held.complete:
            self._forget_copies(source)
            source.held = None
            self._picker.add_seed(source.near)

    def remove_source(self, key: P, now: float) -> None:
        """A peer left; what it was asked for is free again."""
        source = self._sources.pop(key, None)
        if source is None:
            return
        for ordinal in list(source.pending):
            self._let_go(source, ordinal)
        self._forget_copies(source)

    def _forget_copies(self, source: Source[P]) -> None:
        if source.held is None:
            self._picker.add_seed(source.near, -1)
            return
        for ordinal in source.held:
            self._picker.add_copy(ordinal, source.near, -1)

    # -- answers

    def promised(self, key: P, ordinals: Iterable[int], now: float) -> None:
        """A seed answered ANY: it is about to send these."""
        source = self._sources.get(key)
        if source is None:
            return
        in_vain: list[int] = []
        for ordinal in ordinals:
            if source.asked <= 0:
                source.unasked += 1
                continue
            source.asked -= 1
            if ordinal in source.pending:
                continue
            self._promises += 1
            if not self._wants(ordinal) or not self._yield_to(ordinal, now):
                self._in_vain += 1
                in_vain.append(ordinal)
                source.remember_cancel(ordinal, now)
                continue
            self._claim(source, ordinal, now)
        if in_vain:
            self._actions.append(Cancel(key, tuple(in_vain)))

    def _yield_to(self, ordinal: int, now: float) -> bool:
        """Whether a promised block should come from the promiser; takes it back from a line it waits in."""
        owners = self._owners.get(ordinal, ())
        for owner in owners:
            if next(iter(owner.pending)) == ordinal and owner.flow.proven:
                return False
        for owner in list(owners):
            self._call_off(owner, ordinal, now)
        return True

    def arrived(self, key: P, ordinal: int, now: float) -> Arrival:
        """A block's bytes are here, unverified. After NEW, `verified` or `failed` must follow."""
        source = self._sources.get(key)
        if source is None:
            return Arrival.UNASKED
        asked_at = source.pending.get(ordinal)
        if asked_at is not None:
            source.flow.arrived(now, asked_at)
        elif source.cancelled.pop(ordinal, None) is None:
            source.unasked += 1
            if source.unasked > MAX_UNASKED:
                self._condemn(source, "sends blocks nobody asked for", now)
            return Arrival.UNASKED
        source.heard_at = now
        if source.near:
            self._near_heard_at = now
        source.resting_until = 0.0
        source.trials = 0
        source.delivered += 1
        self._let_go(source, ordinal)
        if not self._wants(ordinal):
            self.arrived_twice += 1
            return Arrival.DUPLICATE
        for owner in list(self._owners.get(ordinal, ())):
            self._call_off(owner, ordinal, now)
        self._picker.take(ordinal)
        self._checking[ordinal] = key
        return Arrival.NEW

    def verified(self, ordinal: int) -> None:
        """The block is in the store (from here or elsewhere)."""
        self._checking.pop(ordinal, None)
        self.missing.discard(ordinal)
        self._picker.take(ordinal)

    def failed(self, ordinal: int, now: float) -> P | None:
        """The block was not what its id says; condemns and returns who sent it."""
        key = self._checking.pop(ordinal, None)
        if ordinal in self.missing and ordinal not in self._owners:
            self._picker.release(ordinal)
        if key is not None and (source := self._sources.get(key)) is not None:
            self._condemn(source, "sent a block with a wrong digest", now)
        return key

    def refused(self, key: P, ordinals: Iterable[int], *, not_found: bool, now: float) -> None:
        """A source won't send these: it lacks them (a lie, if it announced them) or is busy."""
        source = self._sources.get(key)
        if source is None:
            return
        for ordinal in ordinals:
            if ordinal not in source.pending:
                continue
            self._let_go(source, ordinal)
            if not_found:
                self._lacks(source, ordinal)
        if not not_found:
            source.flow.shrink()
            source.resting_until = now + 1.0
        elif source.lies > MAX_LIES:
            self._condemn(source, "announced blocks that it lacks", now)

    def ask_refused(self, key: P, now: float) -> None:
        """A source won't serve ANY now."""
        if (source := self._sources.get(key)) is not None:
            source.asked = 0
            source.resting_until = now + 1.0

    def _lacks(self, source: Source[P], ordinal: int) -> None:
        source.lies += self._use_any  # nobody announces loose blocks, so lacking some is no lie
        if source.held is None:
            self._picker.add_seed(source.near, -1)
            source.held = HaveSet.full(self.total)
            for each in source.held:
                self._picker.add_copy(each, source.near)
        if source.held.discard(ordinal):
            self._picker.add_copy(ordinal, source.near, -1)

    # -- time and actions

    def tick(self, now: float) -> None:
        """Call about once a second: silent sources lose what they were asked for."""
        self._judge_near(now)
        for source in list(self._sources.values()):
            if not source.outstanding:
                continue
            since = max(source.heard_at, source.asked_at, next(iter(source.pending.values()), 0.0))
            if now - since <= source.flow.silence_limit():
                continue
            source.trials += 1
            if source.trials > MAX_TRIALS and not source.delivered:
                self._condemn(source, "delivers nothing", now)
                continue
            self._call_off_all(source, now)
            source.flow.shrink()
            source.resting_until = now + TRIAL_AFTER_S * 2 ** min(source.trials - 1, 4)

    def _judge_near(self, now: float) -> None:
        """Far sources are spared as long as the near ones deliver."""
        if not any(source.near for source in self._sources.values()):
            self._near_heard_at = None
            return
        if self._near_heard_at is None:
            self._near_heard_at = now
        spare = now - self._near_heard_at < NEAR_PATIENCE_S
        if spare != self.spare_far:
            self.spare_far = spare
            self._picker.changes += 1

    def actions(self, now: float) -> list[Action[P]]:
        """What to send now. Call after each batch of events."""
        if not self.paused and not self.done:
            for source in self._by_preference():
                self._fill(source, now)
        result, self._actions = self._actions, []
        return result

    def stop(self) -> list[Action[P]]:
        """Cancels everything outstanding."""
        for source in self._sources.values():
            if source.pending:
                self._actions.append(Cancel(source.key, tuple(source.pending)))
        result, self._actions = self._actions, []
        return result

    def _by_preference(self) -> list[Source[P]]:
        """Near ones first, then those that answer soonest."""
        return sorted(self._sources.values(), key=lambda s: (not s.near, s.flow.wait(s.outstanding)))

    def _fill(self, source: Source[P], now: float) -> None:
        if source.resting_until > now:
            return
        window = source.flow.window
        if self.outstanding >= MAX_OUTSTANDING:  # they may all come while the disk stands still
            window = min(window, MIN_WINDOW)
        if self._uses_any(source):
            self._fill_by_ask(source, min(window, ANY_WINDOW), now)
            return
        room = window - source.outstanding
        if room < max(1, window // 4):
            return
        chosen: list[int] = []
        while len(chosen) < room and source.dry_at != self._picker.changes:
            ordinal = self._pick(source, now)
            if ordinal is None:
                break
            self._claim(source, ordinal, now)
            chosen.append(ordinal)
        if not chosen and now >= source.look_after:
            source.look_after = now + TAKE_OVER_EVERY_S
            if (taken := self._take_over(source, now)) is not None:
                chosen.append(taken)
        if chosen:
            self._actions.append(Request(source.key, tuple(chosen)))

    def _pick(self, source: Source[P], now: float) -> int | None:
        share = WHOLE if source.near or not self.spare_far else self._share()
        ordinal = self._picker.pick(source.held, source.near, spare_far=self.spare_far, share=share)
        if ordinal is not None:
            if share != WHOLE:
                self._share_done_at = None
            return ordinal
        if share != WHOLE:
            if self._share_done_at is None or any(s.pending for s in self._sources.values() if not s.near):
                self._share_done_at = now
            if now - self._share_done_at < SHARE_GRACE_S:
                return None
            ordinal = self._picker.pick(source.held, source.near)
        if ordinal is None:
            source.dry_at = self._picker.changes
        return ordinal

    def _share(self) -> Share:
        """Our part of what the machines of this site fetch from outside: those that still fetch, by id."""
        ids = sorted(s.peer_id for s in self._sources.values() if s.near and s.held is not None)
        if not ids or not self._own_id:
            return WHOLE
        return sum(peer_id < self._own_id for peer_id in ids), len(ids) + 1

    def _uses_any(self, source: Source[P]) -> bool:
        if (
            source.held is not None
            or not self._use_any
            or self._in_vain > ANY_MAX_IN_VAIN + self._promises // 4
        ):
            return False
        if not source.near and self.spare_far and self._share() != WHOLE:
            return False
        seeds = self._picker.near_seeds + self._picker.far_seeds
        return seeds <= ANY_MAX_SEEDS and len(self._sources) > seeds

    def _fill_by_ask(self, source: Source[P], window: int, now: float) -> None:
        spare = not source.near and self.spare_far and not self._picker.offers_far
        if spare and any(other.near for other in self._sources.values()):
            return
        room = min(window - source.outstanding, self.remaining - len(self._checking) - source.outstanding)
        if room > 0:
            if not source.outstanding:
                source.asked_at = now
            source.asked += room
            self._actions.append(Ask(source.key, room))

    def _take_over(self, source: Source[P], now: float) -> int | None:
        """Takes over the block that would wait longest elsewhere, if `source` brings it much sooner."""
        found = best_takeover(
            source,
            (
                owner
                for owner in self._sources.values()
                if source.near or not owner.near or not self.spare_far
            ),
            lambda ordinal: len(self._owners[ordinal]) == 1,
            may_double=self._doubled < max(MIN_DOUBLED, self.total // DOUBLED_ONE_IN),
            now=now,
        )
        if found is None:
            return None
        if found.waiting:
            self._call_off(found.owner, found.ordinal, now)
        else:
            self._doubled += 1
        self._claim(source, found.ordinal, now)
        return found.ordinal

    # -- bookkeeping

    def _wants(self, ordinal: int) -> bool:
        return ordinal in self.missing and ordinal not in self._checking

    def _claim(self, source: Source[P], ordinal: int, now: float) -> None:
        self._picker.take(ordinal)
        source.cancelled.pop(ordinal, None)
        source.pending[ordinal] = now
        self._owners.setdefault(ordinal, []).append(source)

    def _let_go(self, source: Source[P], ordinal: int) -> None:
        if source.pending.pop(ordinal, None) is None:
            return
        owners = self._owners[ordinal]
        owners.remove(source)
        if not owners:
            del self._owners[ordinal]
            if self._wants(ordinal):
                self._picker.release(ordinal)

    def _call_off(self, source: Source[P], ordinal: int, now: float) -> None:
        self._let_go(source, ordinal)
        source.remember_cancel(ordinal, now)
        self._actions.append(Cancel(source.key, (ordinal,)))

    def _call_off_all(self, source: Source[P], now: float) -> None:
        ordinals = tuple(source.pending)
        for ordinal in ordinals:
            self._let_go(source, ordinal)
            source.remember_cancel(ordinal, now)
        source.asked = 0
        if ordinals:
            self._actions.append(Cancel(source.key, ordinals))

    def _condemn(self, source: Source[P], reason: str, now: float) -> None:
        self.remove_source(source.key, now)
        self._actions.append(Condemn(source.key, reason))
