"""Whom to dial next for one app: addresses from all finders, nearest first, with back-off. Sans-I/O.

Rules: at most MAX_KNOWN addresses, MAX_DIALS at once; a failed address waits FIRST_RETRY_S, doubled each time
up to MAX_RETRY_S with a random part, and is forgotten after MAX_FAILURES unless the person configured it.
Known good ones are remembered across restarts (`good`), which keeps the DHT off the start-up path.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from random import Random

from pearrt.swarm.scope import Address, Scope, scope_of

MAX_KNOWN = 1000
MAX_DIALS = 8
FIRST_RETRY_S = 1.0
MAX_RETRY_S = 600.0
MAX_FAILURES = 8
WANTED_PEERS = 24


class Origin(IntEnum):
    """Where an address came from; lesser is tried first."""

    CONFIGURED = 0
    LAN = 1
    CACHED = 2
    DHT = 3
    EXCHANGE = 4


@dataclass(slots=True)
class _Candidate:
    origin: Origin
    due: float
    failures: int = 0
    dialling: bool = False
    connected: bool = False
    reached: bool = False


class Dialer:
    """The addresses of one app's peers and when to try them."""

    def __init__(self, rng: Random, *, wanted_peers: int = WANTED_PEERS) -> None:
        self.wanted_peers = wanted_peers
        self._rng = rng
        self._known: dict[Address, _Candidate] = {}

    def add(self, address: Address, origin: Origin, now: float) -> bool:
        """A finder names an address; says whether it is new."""
        if scope_of(address[0]) is Scope.NONE or not 0 < address[1] < 65536:
            return False
        candidate = self._known.get(address)
        if candidate is not None:
            candidate.origin = min(candidate.origin, origin)
            return False
        if len(self._known) >= MAX_KNOWN and not self._make_room(origin):
            return False
        self._known[address] = _Candidate(origin, now)
        return True

    def due(self, connected: int, near_connected: int, now: float) -> list[Address]:
        """Addresses to dial now; each must be followed by `succeeded` or `failed`.

        Neither near nor far peers may take all the room: an office needs somebody outside, and neighbours.
        """
        dialling = [address for address, candidate in self._known.items() if candidate.dialling]
        room = min(MAX_DIALS - len(dialling), self.wanted_peers - connected - len(dialling))
        if room <= 0:
            return []
        near_dialling = sum(_is_near(address) for address in dialling)
        most = self.wanted_peers - self.wanted_peers // 4
        room_near = most - near_connected - near_dialling
        room_far = most - (connected - near_connected) - (len(dialling) - near_dialling)
        ready = [
            (candidate.origin, candidate.failures, self._rng.random(), address)
            for address, candidate in self._known.items()
            if not candidate.dialling and not candidate.connected and candidate.due <= now
        ]
        chosen: list[Address] = []
        for *_, address in sorted(ready):
            left = room_near if _is_near(address) else room_far
            if len(chosen) == room or left <= 0:
                continue
            if _is_near(address):
                room_near -= 1
            else:
                room_far -= 1
            self._known[address].dialling = True
            chosen.append(address)
        return chosen

    def next_due(self) -> float | None:
        """When to look again, if nothing else happens."""
        return min((c.due for c in self._known.values() if not c.dialling and not c.connected), default=None)

    def succeeded(self, address: Address) -> None:
        """Connected (by either side). The address need not have been dialled."""
        candidate = self._known.get(address)
        if candidate is not None:
            candidate.dialling, candidate.connected, candidate.reached, candidate.failures = (
                False,
                True,
                True,
                0,
            )

    def lost(self, address: Address, now: float) -> None:
        """The connection ended; try again a little later."""
        candidate = self._known.get(address)
        if candidate is not None and candidate.connected:
            candidate.connected = False
            candidate.due = now + FIRST_RETRY_S * (0.5 + self._rng.random())

    def failed(self, address: Address, now: float) -> None:
        """A dial failed, or the peer there is not one of this app."""
        candidate = self._known.get(address)
        if candidate is None:
            return
        candidate.dialling = candidate.connected = False
        candidate.failures += 1
        if candidate.failures >= MAX_FAILURES and candidate.origin is not Origin.CONFIGURED:
            del self._known[address]
            return
        wait = min(FIRST_RETRY_S * 2 ** (candidate.failures - 1), MAX_RETRY_S)
        candidate.due = now + wait * (0.75 + self._rng.random() / 2)

    def origin_of(self, address: Address) -> Origin | None:
        """How an address came to be known."""
        candidate = self._known.get(address)
        return None if candidate is None else candidate.origin

    def forget(self, address: Address) -> None:
        """Never again: ourselves, or banned."""
        self._known.pop(address, None)

    def good(self) -> list[Address]:
        """Addresses that answered, for the disk."""
        return [address for address, candidate in self._known.items() if candidate.reached]

    def _make_room(self, origin: Origin) -> bool:
        """Drops the worst idle address if it ranks below a new one of `origin`."""
        idle = [
            (c.origin, c.failures, address)
            for address, c in self._known.items()
            if not c.dialling and not c.connected and (c.failures or c.origin > origin)
        ]
        if not idle:
            return False
        del self._known[max(idle)[2]]
        return True


def _is_near(address: Address) -> bool:
    return scope_of(address[0]) < Scope.WORLD
