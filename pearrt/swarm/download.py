"""Jobs and downloads: what callers wait for, and the fetches that bring it.

A job is a set of block ids that one caller waits for. A download is one running fetch: of a bundle, whose
peers say what they hold, or of loose ids (the blocks of an index), which any peer of the app may hold and
refuses if not. Jobs that overlap share downloads; a download runs in the foreground while any of its jobs
does.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Generic, TypeVar

from pearrt.swarm.bundle_state import BundleState
from pearrt.swarm.fetch import BundleFetch

P = TypeVar("P", bound=Hashable)


@dataclass(slots=True, eq=False)
class Job:
    """What one caller waits for; done when `missing` is empty."""

    missing: set[bytes]
    foreground: bool = True
    downloads: list[object] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return not self.missing


class Download(Generic[P]):
    """A running fetch and the ids behind its ordinals."""

    def __init__(
        self, ids: Sequence[bytes], bundle: BundleState[P] | None, rng: Random, own_id: bytes
    ) -> None:
        self.bundle = bundle
        self.ids = tuple(ids) if bundle is None else bundle.ids
        self.ordinals = bundle.ordinals if bundle else {block_id: n for n, block_id in enumerate(self.ids)}
        wanted: Iterable[int] = () if bundle else range(len(self.ids))
        self.fetch: BundleFetch[P] = BundleFetch(
            len(self.ids), wanted, rng, own_id=own_id, use_any=bundle is not None
        )
        self.jobs: list[Job] = []

    @property
    def foreground(self) -> bool:
        return any(job.foreground for job in self.jobs)

    def ids_of(self, ordinals: Iterable[int]) -> tuple[bytes, ...]:
        return tuple(self.ids[ordinal] for ordinal in ordinals)
