"""The picker: which block to ask a given source for. Rarest first with random ties.

An ordinal is *free* while it is wanted and nobody has been asked for it. Free ordinals lie in one of two
rarity buckets: those that a near source (same site) holds and those that only far ones hold. A near source is
asked for the rarest near ordinal; a far source only for what no near source holds, so that the machines of
one site fetch each block from outside once and spread it inside. `spare_far=False` lifts that for a site
whose near sources do not deliver.

Sources that hold everything are counted once for all ordinals (`seeds`), not once per ordinal: they don't
change the order of rarity.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from pearrt.swarm.have import HaveSet
from pearrt.swarm.rarity import RarityBuckets

Share = tuple[int, int]  # (part, of parts): the ordinals that leave `part` when divided by `parts`
WHOLE: Share = (0, 1)
SHORT_LIST = 64  # up to so many ordinals it is cheaper to look at all that the source holds


class Picker:
    """Availability of one bundle's blocks, and the choice among them."""

    def __init__(self, total: int, wanted: Iterable[int], rng: Random) -> None:
        self.total = total
        self.near_seeds = 0
        self.far_seeds = 0
        self.changes = 0  # grows whenever a source that had nothing to be asked for might have something now
        self._rng = rng
        self._copies = [0] * total
        self._near = [0] * total
        self._far_only = RarityBuckets(rng)
        self._near_held = RarityBuckets(rng)
        shuffled = list(wanted)
        rng.shuffle(shuffled)
        for ordinal in shuffled:
            self._far_only.add(ordinal, 0)

    @property
    def free(self) -> int:
        """How many wanted blocks nobody has been asked for."""
        return self._far_only.size + self._near_held.size

    def is_free(self, ordinal: int) -> bool:
        return ordinal in self._far_only or ordinal in self._near_held

    def add_seed(self, near: bool, count: int = 1) -> None:
        """A source that holds everything came (or went: count=-1)."""
        self.changes += 1
        if near:
            self.near_seeds += count
        else:
            self.far_seeds += count

    def add_copy(self, ordinal: int, near: bool, count: int = 1) -> None:
        """A source came to hold `ordinal` (or went: count=-1)."""
        self._copies[ordinal] += count
        if near:
            self._near[ordinal] += count
        if count < 0:
            self.changes += 1
        if self.is_free(ordinal):
            self.release(ordinal)

    def take(self, ordinal: int) -> bool:
        """`ordinal` is no longer free: asked for, or held. Says whether it was."""
        return self._far_only.remove(ordinal) or self._near_held.remove(ordinal)

    def release(self, ordinal: int) -> None:
        """`ordinal` is free (again), in the bucket of its present rarity."""
        if not self.take(ordinal):
            self.changes += 1
        buckets = self._near_held if self._near[ordinal] else self._far_only
        buckets.add(ordinal, self._copies[ordinal])

    def pick(
        self, held: HaveSet | None, near: bool, *, spare_far: bool = True, share: Share = WHOLE
    ) -> int | None:
        """The rarest free ordinal that a source may be asked for, or None. `held` None: it holds everything.

        `share` narrows what a far source is asked for to our part of the site's work.
        """
        if near:
            return self._first(self._near_held, held) if not self.near_seeds else self._first_of_both(held)
        if spare_far and self.near_seeds:
            return None
        if spare_far:
            return self._first(self._far_only, held, share)
        return self._first_of_both(held)

    @property
    def offers_far(self) -> bool:
        """Whether a far source that holds everything could be asked for anything while those are spared."""
        return not self.near_seeds and self._far_only.size > 0

    def _first_of_both(self, held: HaveSet | None) -> int | None:
        far = self._first(self._far_only, held)
        near = self._first(self._near_held, held)
        if far is None or near is None:
            return near if far is None else far
        return far if self._copies[far] <= self._copies[near] else near

    def _first(self, buckets: RarityBuckets, held: HaveSet | None, share: Share = WHOLE) -> int | None:
        part, parts = share
        if held is not None and held.count <= SHORT_LIST:
            return self._least(n for n in held if n in buckets and n % parts == part)
        if held is None and parts == 1:
            return next(buckets.rarest_first(), None)
        return next(
            (n for n in buckets.rarest_first() if n % parts == part and (held is None or n in held)), None
        )

    def _least(self, ordinals: Iterable[int]) -> int | None:
        best = [*ordinals]
        if not best:
            return None
        least = min(self._copies[ordinal] for ordinal in best)
        return self._rng.choice([ordinal for ordinal in best if self._copies[ordinal] == least])
