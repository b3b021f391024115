"""Peer exchange: peers of one app tell each other where further peers listen (compare BEP 11).

Rules, for a hint that anybody may forge: at most MAX_ADDRESSES per message, a message per EXCHANGE_EVERY_S
and peer, MAX_HEARD addresses per peer ever; only addresses that the teller could honestly know
(`scope.may_be_told`); never ourselves; port 0 and privileged ports of strangers never. Passed on are only
addresses of peers we are connected to (the host as seen, the port as that peer claims), so that a poisoned
hint dies with the first who tries it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from random import Random
from typing import Generic, TypeVar

from pearrt.swarm.allowance import Allowance
from pearrt.swarm.scope import Address, may_be_told, scope_of

P = TypeVar("P", bound=Hashable)

MAX_ADDRESSES = 50
MAX_HEARD = 400
EXCHANGE_EVERY_S = 60.0
MIN_PORT = 1024


class PeerExchange(Generic[P]):
    """One app's peer exchange."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._allowance: dict[P, Allowance] = {}
        self._heard: dict[P, int] = {}
        self._told: dict[P, set[Address]] = {}

    def left(self, peer: P) -> None:
        for table in (self._allowance, self._heard, self._told):
            table.pop(peer, None)

    def heard(
        self, peer: P, source: str, addresses: Sequence[Address], ourselves: Iterable[Address], now: float
    ) -> list[Address] | None:
        """The addresses worth trying; None where the peer tells too much too often."""
        allowance = self._allowance.get(peer)
        if allowance is None:
            allowance = self._allowance[peer] = Allowance(burst=4, per_s=2 / EXCHANGE_EVERY_S, now=now)
        if not allowance.take(now):
            return None
        own = set(ourselves)
        result: list[Address] = []
        for address in addresses[:MAX_ADDRESSES]:
            if self._heard.get(peer, 0) >= MAX_HEARD:
                break
            host, port = address
            if port < MIN_PORT or address in own or address in result or not may_be_told(source, host):
                continue
            self._heard[peer] = self._heard.get(peer, 0) + 1
            result.append(address)
        return result

    def to_tell(self, peer: P, peer_host: str, connected: Iterable[Address]) -> tuple[Address, ...]:
        """What to tell a peer: listening addresses we are connected to, that it was not told yet and can
        use.
        """
        told = self._told.setdefault(peer, set())
        news = [
            address
            for address in connected
            if address not in told and scope_of(peer_host) <= scope_of(address[0]) and address[1]
        ]
        self._rng.shuffle(news)
        chosen = tuple(news[:MAX_ADDRESSES])
        if len(told) > MAX_HEARD:
            told.clear()
        told.update(chosen)
        return chosen
