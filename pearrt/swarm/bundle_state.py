"""What is known of one bundle among the peers of an app: its blocks, which are ours, which are whose."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from random import Random
from typing import Generic, TypeVar

from pearrt.swarm.have import HaveSet
from pearrt.swarm.spread import Spread

P = TypeVar("P", bound=Hashable)

MAX_BLOCKS = 1 << 21  # what a BITFIELD of 256 KiB can tell


def ref_of(index_digest: bytes) -> int:
    """The u32 by which HAVE, ANY and PROMISE name a bundle."""
    return int.from_bytes(index_digest[:4])


class BundleState(Generic[P]):
    """One bundle that we serve, fetch, or both. Ordinals follow the index's list of unique blocks."""

    def __init__(self, digest: bytes, ids: Sequence[bytes], index_ids: Iterable[bytes], rng: Random) -> None:
        if len(ids) > MAX_BLOCKS:
            raise ValueError(f"a bundle of {len(ids)} blocks; at most {MAX_BLOCKS}")
        self.digest = digest
        self.ref = ref_of(digest)
        self.ids = tuple(ids)
        self.index_ids = frozenset(index_ids)
        self.ordinals = {block_id: ordinal for ordinal, block_id in enumerate(self.ids)}
        if len(self.ordinals) != len(self.ids):
            raise ValueError("a block stands twice in the list of a bundle")
        self.ours = HaveSet(len(self.ids))
        self.fresh: list[int] = []  # ours and not yet announced to those that fetch, too
        self.fresh_for_seeds: list[int] = []
        self.spread: Spread[P] = Spread(len(self.ids), rng)
        self.claims: dict[P, HaveSet | None] = {}  # None: everything

    def claimed(self, peer: P, held: HaveSet | None) -> None:
        """A peer showed all it holds (None: everything)."""
        if held is not None and held.complete:
            held = None
        self.claims[peer] = held
        self.spread.joined(peer, held if held is not None else HaveSet.full(len(self.ids)))

    def announced(self, peer: P, ordinals: Iterable[int]) -> None:
        """A peer announced further blocks, all within the bundle."""
        if peer not in self.claims:
            self.claims[peer] = HaveSet(len(self.ids))
        held = self.claims[peer]
        if held is not None:
            for ordinal in ordinals:
                held.add(ordinal)
            if held.complete:
                self.claims[peer] = None
        self.spread.noted(peer, ordinals)

    def left(self, peer: P) -> None:
        self.claims.pop(peer, None)
        self.spread.left(peer)

    def stored(self, block_id: bytes) -> bool:
        """We hold a block now; says whether that is news."""
        ordinal = self.ordinals.get(block_id)
        if ordinal is None or not self.ours.add(ordinal):
            return False
        self.fresh.append(ordinal)
        self.fresh_for_seeds.append(ordinal)
        return True

    def is_seed(self, peer: P) -> bool:
        """Whether the peer says it holds every block."""
        return peer in self.claims and self.claims[peer] is None

    def held_by(self, peer: P) -> int:
        """How many of the blocks a peer says it holds."""
        if peer not in self.claims:
            return 0
        held = self.claims[peer]
        return len(self.ids) if held is None else held.count
