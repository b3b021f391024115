"""The seeder's choice for ANY: the block of a bundle that the fewest peers have, as far as this peer knows.

A block counts as held by a peer once that peer announced it or was sent it. So a lone seed sends every block
once before any twice, without a special mode, and skips what peers already exchanged among themselves.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from random import Random
from typing import Generic, TypeVar

from pearrt.swarm.have import HaveSet
from pearrt.swarm.rarity import RarityBuckets

P = TypeVar("P", bound=Hashable)


class Spread(Generic[P]):
    """Copies of one bundle's blocks among the peers connected to us."""

    def __init__(self, total: int, rng: Random) -> None:
        self.total = total
        self._levels = RarityBuckets(rng)
        self._copies = [0] * total
        self._held: dict[P, HaveSet] = {}
        order = list(range(total))
        rng.shuffle(order)
        for ordinal in order:
            self._levels.add(ordinal, 0)

    def joined(self, peer: P, held: HaveSet) -> None:
        """A peer showed what it holds. Replaces what was known of it; the set is copied."""
        self.left(peer)
        self._held[peer] = held.copy()
        for ordinal in held:
            self._shift(ordinal, 1)

    def left(self, peer: P) -> None:
        """A peer went, its copies with it."""
        for ordinal in self._held.pop(peer, ()):
            self._shift(ordinal, -1)

    def noted(self, peer: P, ordinals: Iterable[int]) -> None:
        """A peer holds, or is being sent, these."""
        held = self._held.get(peer)
        if held is None:
            held = self._held[peer] = HaveSet(self.total)
        for ordinal in ordinals:
            if held.add(ordinal):
                self._shift(ordinal, 1)

    def choose(self, peer: P, ours: HaveSet | None) -> int | None:
        """The rarest block that `peer` lacks and we hold (`ours` None: all), random among equals."""
        held = self._held.get(peer)
        for ordinal in self._levels.rarest_first():
            if (held is None or ordinal not in held) and (ours is None or ordinal in ours):
                return ordinal
        return None

    def _shift(self, ordinal: int, by: int) -> None:
        self._copies[ordinal] += by
        self._levels.move(ordinal, self._copies[ordinal])
