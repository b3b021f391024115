"""All that is served of one app: its bundles, and blocks outside of any that every member may ask for."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from random import Random
from typing import Generic, TypeVar

from pearrt.peer.bodies import MAX_ORDINALS
from pearrt.swarm.bundle_state import BundleState

P = TypeVar("P", bound=Hashable)

MAX_BUNDLES = 16  # of one app


class Bundles(Generic[P]):
    """At most MAX_BUNDLES; the one that came first goes first."""

    def __init__(self, rng: Random) -> None:
        self.log_ids: frozenset[bytes] = frozenset()  # blocks of the log of releases
        self.room_ids: frozenset[bytes] = frozenset()  # sealed requests
        self._by_digest: dict[bytes, BundleState[P]] = {}
        self._by_ref: dict[int, BundleState[P]] = {}
        self._rng = rng

    def __iter__(self) -> Iterator[BundleState[P]]:
        return iter(self._by_digest.values())

    def of_digest(self, digest: bytes) -> BundleState[P] | None:
        return self._by_digest.get(digest)

    def of_ref(self, ref: int) -> BundleState[P] | None:
        """The bundle that a message names by the beginning of its digest."""
        return self._by_ref.get(ref)

    def put(
        self, digest: bytes, ids: Sequence[bytes], index_ids: Iterable[bytes], held: Iterable[bytes]
    ) -> BundleState[P]:
        """The bundle with its unique blocks in index order, the index's own, and which are here."""
        bundle = self._by_digest.get(digest)
        if bundle is None:
            if len(self._by_digest) >= MAX_BUNDLES:
                self.drop(next(iter(self._by_digest)))
            bundle = BundleState(digest, ids, index_ids, self._rng)
            self._by_digest[digest] = self._by_ref[bundle.ref] = bundle
        for block_id in held:
            bundle.stored(block_id)
        bundle.fresh.clear()
        bundle.fresh_for_seeds.clear()
        return bundle

    def drop(self, digest: bytes) -> None:
        """No longer serve a bundle. Peers are not told: they get NOT_FOUND."""
        bundle = self._by_digest.pop(digest, None)
        if bundle is not None and self._by_ref.get(bundle.ref) is bundle:
            del self._by_ref[bundle.ref]

    def holds(self, block_id: bytes) -> bool:
        """Whether the block belongs to a bundle of this app, to its log of releases or to a release room."""
        return (
            block_id in self.log_ids
            or block_id in self.room_ids
            or any(block_id in bundle.ordinals or block_id in bundle.index_ids for bundle in self)
        )

    def take_fresh(self, *, for_seeds: bool) -> Iterator[tuple[BundleState[P], tuple[int, ...]]]:
        """The blocks stored since the last call, in lists that fit into a HAVE each."""
        for bundle in self:
            if for_seeds:
                fresh, bundle.fresh_for_seeds = bundle.fresh_for_seeds, []
            else:
                fresh, bundle.fresh = bundle.fresh, []
            for at in range(0, len(fresh), MAX_ORDINALS):
                yield bundle, tuple(fresh[at : at + MAX_ORDINALS])
