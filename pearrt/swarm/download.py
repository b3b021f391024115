"""Jobs and downloads: what callers wait for, and the fetches that bring it.

A job is a set of block ids that one caller waits for. A download is one running fetch: of a bundle, whose
peers say what they hold, or of loose ids (the blocks of an index), which any peer of the app may hold and
refuses if not. Jobs that overlap share downloads; a download runs in the foreground while any of its jobs
does.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

from pearrt.swarm.actions import Action
from pearrt.swarm.bundle_state import BundleState
from pearrt.swarm.fetch import BundleFetch
from pearrt.swarm.member import Member

P = TypeVar("P", bound=Hashable)

MAX_ASKED_AGAIN = 16  # loose blocks, 4 MiB of index: times the shows it may send, what a peer has to refuse


@dataclass(slots=True, eq=False)
class Job:
    """What one caller waits for; done when `missing` is empty."""

    missing: set[bytes]
    foreground: bool = True

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

    def add_source(self, peer: P, member: Member, now: float) -> None:
        """A peer that may be asked: for what it claims of the bundle, or for any loose id."""
        held = self.bundle.claims[peer] if self.bundle is not None else None
        self.fetch.add_source(peer, held, peer_id=member.peer_id, near=member.near, now=now)


# A download and the last things to tell its sources.
Ended = tuple[Download[P], list[Action[P]]]


class Downloads(Generic[P]):
    """All running downloads of one app."""

    def __init__(self, rng: Random, own_id: bytes) -> None:
        self._rng = rng
        self._own_id = own_id
        self._running: list[Download[P]] = []
        self._by_block: dict[bytes, Download[P]] = {}
        self._ended_twice = 0

    def __iter__(self) -> Iterator[Download[P]]:
        return iter(self._running)

    def of_block(self, block_id: bytes) -> Download[P] | None:
        return self._by_block.get(block_id)

    def of_bundle(self, bundle: BundleState[P]) -> Download[P] | None:
        return next((download for download in self._running if download.bundle is bundle), None)

    @property
    def moving(self) -> bool:
        """Whether one in the foreground is under way and has somebody to ask."""
        return any(download.foreground and download.fetch.outstanding for download in self._running)

    @property
    def arrived_twice(self) -> int:
        """Blocks that came in vain."""
        return self._ended_twice + sum(download.fetch.arrived_twice for download in self._running)

    def want(
        self,
        ids: Iterable[bytes],
        bundles: Iterable[BundleState[P]],
        members: Mapping[P, Member],
        *,
        foreground: bool,
        now: float,
    ) -> Job:
        """A job for these ids; joins running downloads where they bring some of them."""
        job = Job(set(ids), foreground)
        loose: list[bytes] = []
        for block_id in job.missing:
            download = self._by_block.get(block_id)
            if download is None:
                bundle = next((bundle for bundle in bundles if block_id in bundle.ordinals), None)
                if bundle is None:
                    loose.append(block_id)
                    continue
                download = self.of_bundle(bundle) or self._start((), bundle, members, now)
                download.fetch.want((bundle.ordinals[block_id],))
                self._by_block[block_id] = download
            _attach(job, download)
        if loose:
            download = self._start(sorted(loose), None, members, now)
            self._by_block.update((block_id, download) for block_id in loose)
            _attach(job, download)
        return job

    def joined(self, peer: P, member: Member, now: float) -> None:
        """A member may hold loose blocks, from the start."""
        for download in self._running:
            if download.bundle is None:
                download.add_source(peer, member, now)

    def claimed(self, peer: P, member: Member, bundle: BundleState[P], now: float) -> None:
        """A member showed what it holds of a bundle."""
        if (download := self.of_bundle(bundle)) is not None:
            download.add_source(peer, member, now)

    def showed(self, peer: P) -> None:
        """A member shows a bundle that was not known: what it lacked of an index it may hold now.

        It tells of new metadata as soon as it trusts that, but fetches or reads the index behind it first.
        """
        for download in self._running:
            if download.bundle is None and len(download.ids) <= MAX_ASKED_AGAIN:
                download.fetch.add_have(peer, range(len(download.ids)))

    def left(self, peer: P, now: float) -> None:
        for download in self._running:
            download.fetch.remove_source(peer, now)

    def stored(self, block_id: bytes) -> list[Ended[P]]:
        """A block is in the store; what ended thereby."""
        download = self._by_block.pop(block_id, None)
        if download is None:
            return []
        download.fetch.verified(download.ordinals[block_id])
        for job in download.jobs:
            job.missing.discard(block_id)
        return [self._end(download)] if download.fetch.done else []

    def give_up(self, job: Job) -> list[Ended[P]]:
        """Nobody waits for the job any more; what ended thereby."""
        ended = []
        for download in list(self._running):
            if job in download.jobs:
                download.jobs.remove(job)
                if not download.jobs:
                    ended.append(self._end(download))
        return ended

    def _start(
        self, ids: Sequence[bytes], bundle: BundleState[P] | None, members: Mapping[P, Member], now: float
    ) -> Download[P]:
        download = Download(ids, bundle, self._rng, self._own_id)
        self._running.append(download)
        for peer in members if bundle is None else bundle.claims:
            download.add_source(peer, members[peer], now)
        return download

    def _end(self, download: Download[P]) -> Ended[P]:
        self._ended_twice += download.fetch.arrived_twice
        self._running.remove(download)
        for block_id in [block_id for block_id, d in self._by_block.items() if d is download]:
            del self._by_block[block_id]
        return download, download.fetch.stop()


def _attach(job: Job, download: Download[P]) -> None:
    if job not in download.jobs:
        download.jobs.append(job)
