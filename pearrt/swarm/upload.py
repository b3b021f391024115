"""The uplink's order of service: whom to send which block next. Sans-I/O.

Rules:
- Few blocks are in service at once (`slots`): a block sent alone arrives sooner and can be relayed sooner.
  Not just one, though: while a receiver's downlink is busy with others, the uplink would idle (head-of-line
  blocking). In the simulation 1 / 2 / 4 / 8 slots take 2.5 / 1.7 / 1.5 / 1.2 times the fluid limit for 16
  leechers.
- A block that is in service STALL_FACTOR times longer than is usual here sits in front of a slow receiver: it
  no longer counts as a slot, or a few slow (or malicious) readers would hold all uploads. That peer gets
  nothing else meanwhile.
- MAX_IN_SERVICE bounds all that is in service, stalled ones included; past it, with others waiting, the
  slowest reader is dropped.
- Peers take turns by bytes sent: who got least since it joined the queue comes first (a newcomer starts level
  with the least served, so it can neither starve the others nor be starved).
- The next block is decided and, for ANY, promised one step ahead (`LOOKAHEAD`), so that a cancel can come in
  time.
- A peer's line is bounded; what is over the bound is refused, so a flood costs the flooder only.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)
Scope = Hashable  # what a block id or bundle belongs to: one membership on one connection

MAX_LINE = 256
MAX_ASKS = 64
MAX_SCOPES_PER_PEER = 64
LOOKAHEAD = 1
RECENT = 32
STALL_FACTOR = 3.0
STALL_MIN_S = 0.25
MAX_IN_SERVICE = 64  # 16 MiB, stalled ones included
EVICT_AFTER_S = 5.0
SLOTS = 8
PER_PEER = 4


@dataclass(frozen=True, slots=True)
class Grant(Generic[P]):
    """One block for one peer. `ordinal` is set where it answers an ANY of bundle `ref`."""

    peer: P
    scope: Scope
    block_id: bytes
    ref: int = 0
    ordinal: int | None = None


@dataclass(frozen=True, slots=True)
class Promised(Generic[P]):
    """Tell the peer: this block comes next. `grant` None: there is nothing to give."""

    peer: P
    scope: Scope
    ref: int
    grant: Grant[P] | None


# (peer, scope, ref) -> (block id, ordinal) of the rarest block that the peer lacks, or None
Chooser = Callable[[P, Scope, int], tuple[bytes, int] | None]


class _Line(Generic[P]):
    __slots__ = ("asks", "began", "requests", "served")

    def __init__(self, served: int) -> None:
        self.requests: OrderedDict[tuple[Scope, bytes], None] = OrderedDict()
        self.asks: OrderedDict[tuple[Scope, int], int] = OrderedDict()
        self.began: deque[float] = deque()  # when each block in service began
        self.served = served

    @property
    def waiting(self) -> bool:
        return bool(self.requests or self.asks)


class UploadQueue(Generic[P]):
    """Who waits for what, and what is in service. `per_peer` bounds one peer's share of the slots when
    alone.
    """

    def __init__(self, choose: Chooser[P], *, slots: int = SLOTS, per_peer: int = PER_PEER) -> None:
        self.slots = slots
        self.per_peer = per_peer
        self._choose = choose
        self._lines: dict[P, _Line[P]] = {}
        self._next: deque[Grant[P]] = deque()
        self._recent: deque[float] = deque(maxlen=RECENT)

    @property
    def idle(self) -> bool:
        """Whether nobody ever asked for anything."""
        return not self._lines

    def busy_with(self, peer: P) -> bool:
        """Whether this peer waits for a block or is being sent one."""
        line = self._lines.get(peer)
        return line is not None and bool(line.began or line.waiting or self._planned(peer))

    @property
    def in_service(self) -> int:
        return sum(len(line.began) for line in self._lines.values())

    def _stall_s(self) -> float:
        usual = sorted(self._recent)[len(self._recent) // 4] if self._recent else 0.0
        return max(STALL_MIN_S, STALL_FACTOR * usual)

    def _slots_taken(self, now: float) -> int:
        since = now - self._stall_s()
        return sum(began > since for line in self._lines.values() for began in line.began)

    def look_again_at(self, now: float) -> float | None:
        """When a slot may be free without anything else happening, if somebody waits for it."""
        if not self._next:
            return None
        stall_s = self._stall_s()
        began = [b for line in self._lines.values() for b in line.began if b > now - stall_s]
        return min(began) + stall_s + 0.001 if began else None

    def to_evict(self, now: float) -> P | None:
        """The slowest reader, where stalled ones hold all the memory there is for uploads while others
        wait.
        """
        if not self._next or self.in_service < MAX_IN_SERVICE:
            return None
        oldest = min(
            (line.began[0], n, peer) for n, (peer, line) in enumerate(self._lines.items()) if line.began
        )
        return oldest[2] if now - oldest[0] > EVICT_AFTER_S else None

    def waiting(self, peer: P) -> int:
        """How many blocks the peer waits for."""
        line = self._lines.get(peer)
        return len(line.requests) + sum(line.asks.values()) if line else 0

    def request(self, peer: P, scope: Scope, ids: Iterable[bytes]) -> list[bytes]:
        """Queues blocks; returns those refused because the line is full. A repeated request counts once."""
        line = self._line(peer)
        refused = []
        for block_id in ids:
            key = (scope, block_id)
            if key in line.requests:
                continue
            if len(line.requests) >= MAX_LINE:
                refused.append(block_id)
            else:
                line.requests[key] = None
        return refused

    def ask(self, peer: P, scope: Scope, ref: int, count: int) -> None:
        """Queues an ANY; past MAX_ASKS the surplus is dropped."""
        line = self._line(peer)
        if len(line.asks) >= MAX_SCOPES_PER_PEER and (scope, ref) not in line.asks:
            return
        line.asks[scope, ref] = min(line.asks.get((scope, ref), 0) + count, MAX_ASKS)

    def cancel(self, peer: P, scope: Scope, ids: Iterable[bytes]) -> list[Grant[P]]:
        """Takes back what is not in service yet; returns the promised grants that are now void."""
        line = self._lines.get(peer)
        void: list[Grant[P]] = []
        for block_id in ids:
            if line is not None:
                line.requests.pop((scope, block_id), None)
            for grant in self._next:
                if grant.peer == peer and grant.scope == scope and grant.block_id == block_id:
                    void.append(grant)
        for grant in void:
            self._next.remove(grant)
        return void

    def forget_scope(self, peer: P, scope: Scope) -> None:
        """The peer left this app."""
        line = self._lines.get(peer)
        if line is None:
            return
        for key in [key for key in line.requests if key[0] == scope]:
            del line.requests[key]
        for ask in [ask for ask in line.asks if ask[0] == scope]:
            del line.asks[ask]
        self._next = deque(grant for grant in self._next if (grant.peer, grant.scope) != (peer, scope))

    def remove(self, peer: P) -> None:
        """The connection is gone."""
        self._lines.pop(peer, None)
        self._next = deque(grant for grant in self._next if grant.peer != peer)

    def sent(self, peer: P, size: int, now: float) -> None:
        """A block left for the peer: its slot is free."""
        line = self._lines.get(peer)
        if line is None or not line.began:
            return
        self._recent.append(now - line.began.popleft())
        line.served += size
        if not line.began and not line.waiting:
            line.served = max(line.served, self._least_served())

    def serve(self, now: float) -> list[Grant[P] | Promised[P]]:
        """What to do now: grants to send, in order, and promises to make. Call after every change, and
        sometimes.
        """
        result: list[Grant[P] | Promised[P]] = []
        self._look_ahead(result, now)
        room = min(self.slots - self._slots_taken(now), MAX_IN_SERVICE - self.in_service)
        while self._next and room > 0:
            grant = self._next.popleft()
            self._lines[grant.peer].began.append(now)
            room -= 1
            result.append(grant)
            self._look_ahead(result, now)
        return result

    def _look_ahead(self, result: list[Grant[P] | Promised[P]], now: float) -> None:
        while len(self._next) < LOOKAHEAD:
            peer = self._most_deserving(now)
            if peer is None:
                return
            grant = self._take(peer, result)
            if grant is not None:
                self._next.append(grant)

    def _most_deserving(self, now: float) -> P | None:
        """Who has least in service, then who was sent least; nobody whose reading has stalled."""
        best: P | None = None
        least = (0, 0)
        stalled = now - self._stall_s()
        for peer, line in self._lines.items():
            busy = len(line.began) + self._planned(peer)
            if not line.waiting or busy >= self.per_peer or (line.began and line.began[0] <= stalled):
                continue
            if best is None or (busy, line.served) < least:
                best, least = peer, (busy, line.served)
        return best

    def _planned(self, peer: P) -> int:
        return sum(grant.peer == peer for grant in self._next)

    def _take(self, peer: P, result: list[Grant[P] | Promised[P]]) -> Grant[P] | None:
        line = self._lines[peer]
        if line.requests:
            (scope, block_id), _ = line.requests.popitem(last=False)
            return Grant(peer, scope, block_id)
        (scope, ref), count = next(iter(line.asks.items()))
        chosen = self._choose(peer, scope, ref)
        if chosen is None:
            del line.asks[scope, ref]
            result.append(Promised(peer, scope, ref, None))
            return None
        if count > 1:
            line.asks[scope, ref] = count - 1
            line.asks.move_to_end((scope, ref))
        else:
            del line.asks[scope, ref]
        grant = Grant(peer, scope, chosen[0], ref, chosen[1])
        result.append(Promised(peer, scope, ref, grant))
        return grant

    def _line(self, peer: P) -> _Line[P]:
        line = self._lines.get(peer)
        if line is None:
            line = self._lines[peer] = _Line(self._least_served())
        return line

    def _least_served(self) -> int:
        return min((line.served for line in self._lines.values() if line.waiting), default=0)
