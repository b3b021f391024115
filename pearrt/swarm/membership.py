"""One app's membership in the swarm, as its caller sees it: peers, metadata, fetching, serving. A shell
around `AppSwarm`; made by `SwarmService.join`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Protocol

from pearrt.errors import DigestMismatch, NoPeers, PearrtError, PeerTimeout
from pearrt.swarm.app_swarm import AppSwarm
from pearrt.swarm.dialer import Origin
from pearrt.swarm.download import Job
from pearrt.swarm.effects import (
    Confirmed,
    Heard,
    Keep,
    MetadataCame,
    Newer,
    Offended,
    Send,
    ServeMetadata,
    SwarmApp,
)
from pearrt.swarm.member import Member
from pearrt.swarm.offers import Offer, Questions, offers
from pearrt.swarm.scope import Address, source_of
from pearrt.swarm.sought import Sought

if TYPE_CHECKING:
    from pearrt.peer.link import PeerLink
    from pearrt.swarm.service import SwarmService

METADATA_TIMEOUT_S = 10.0  # where nobody is there as well: who begins to seed meanwhile, or dials us, is met
METADATA_PEERS = 3
HAVE_DELAY_S = 0.005
HAVE_DELAY_TO_SEEDS_S = 0.05
PATIENCE_S = 60.0
ALONE_PATIENCE_S = 10.0  # with no peer at all
PATIENCE_CHECK_S = 1.0
PROGRESS_EVERY_S = 0.05
INCOMING = "incoming"


class BlockRef(Protocol):
    """A block's id and its size in bytes, as an index lists it."""

    @property
    def id(self) -> bytes: ...

    @property
    def size(self) -> int: ...


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A peer of the app as listings show it. Bytes count blocks exchanged over this connection."""

    peer_id: bytes
    address: Address
    agent: str
    near: bool
    bytes_from: int
    bytes_to: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a fetch is. `bytes_by_peer` says who gave what since it began."""

    blocks: int
    total_blocks: int
    stored_bytes: int
    total_bytes: int
    bytes_by_peer: dict[bytes, int]


@dataclass(eq=False, slots=True)
class _Fetch:
    job: Job
    sizes: dict[bytes, int]
    total_blocks: int
    total_bytes: int
    progress: Callable[[Progress], None] | None
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    error: PearrtError | None = None
    refusal: PearrtError | None = None
    blocks: int = 0
    stored_bytes: int = 0
    bytes_by_peer: Counter[bytes] = field(default_factory=Counter)
    moved_at: float = 0.0
    told_at: float = 0.0

    def stored(self, block_id: bytes, peer_id: bytes, now: float) -> None:
        size = self.sizes.pop(block_id, None)
        if size is None:
            return
        self.moved_at = now
        self.blocks += 1
        self.stored_bytes += size
        self.bytes_by_peer[peer_id] += size
        if self.progress and (now >= self.told_at + PROGRESS_EVERY_S or not self.sizes):
            self.told_at = now
            self.progress(self.as_progress())

    def as_progress(self) -> Progress:
        return Progress(
            self.blocks, self.total_blocks, self.stored_bytes, self.total_bytes, dict(self.bytes_by_peer)
        )


class Membership(Sought):
    """One app in the swarm. All methods belong on the service's event loop."""

    def __init__(self, service: SwarmService, app: SwarmApp, rng: Random) -> None:
        super().__init__(app.topic, rng, wanted_peers=service.wanted_peers)
        self.app = app
        self.swarm: AppSwarm[PeerLink] = AppSwarm(app, rng, service.uploads, own_id=service.peer_id)
        self.swarm.ourselves = self.ourselves
        self.members: Mapping[PeerLink, Member] = self.swarm.members
        self.on_newer: Callable[[Newer[PeerLink]], Awaitable[None] | None] | None = None
        self.on_confirmed: Callable[[str, str], None] | None = None  # (source, how it was found)
        self.bytes_from: Counter[bytes] = Counter()
        self.bytes_to: Counter[bytes] = Counter()
        self._service = service
        self._fetches: list[_Fetch] = []
        self._questions = Questions()
        self._changed = asyncio.Event()
        self._alone_since = time.monotonic()
        self._pump_due = False
        self._have_due = False
        self._have_due_to_seeds = False
        self._newer_tasks: set[asyncio.Task[None]] = set()

    # -- for callers

    @property
    def peers(self) -> list[PeerInfo]:
        """The peers that share this app, now."""
        return [
            PeerInfo(link.peer_id, link.address, link.hello.agent, m.near, m.bytes_from, m.bytes_to)
            for link, m in self.swarm.members.items()
        ]

    def set_bundle(
        self, index_digest: bytes, block_ids: Sequence[bytes], *, index_blocks: Iterable[bytes] = ()
    ) -> None:
        """Serves a bundle and tells peers what of it the store holds. `block_ids`: unique, in index order."""
        held = [block_id for block_id in block_ids if self._service.store.has(block_id)]
        self.swarm.set_bundle(index_digest, block_ids, index_blocks, held, time.monotonic())
        self.pump_soon()

    def serve_log(self, block_ids: Iterable[bytes]) -> None:
        """Serves these blocks, the leaves of the log of releases, to whoever asks; replaces the last ones."""
        self.swarm.bundles.log_ids = frozenset(block_ids)

    def serve_rooms(self, block_ids: Iterable[bytes]) -> None:
        """Serves these blocks, sealed requests of release rooms, to whoever asks; replaces the last ones."""
        self.swarm.bundles.room_ids = frozenset(block_ids)

    def drop_bundle(self, index_digest: bytes) -> None:
        """Serves a bundle no longer."""
        self.swarm.bundles.drop(index_digest)

    def serves(self, block_id: bytes) -> bool:
        """Whether the block is one of this app's that peers may ask for."""
        return self.swarm.bundles.holds(block_id)

    def timestamp_changed(self) -> None:
        """The app trusts a newer timestamp (published here, or verified with its metadata): tell all
        peers.
        """
        self.swarm.timestamp_changed()
        self.pump_soon()

    def proof_found(self) -> None:
        """The app keeps a proof of contradicting statements now: tell all peers."""
        self.swarm.tell_proof()
        self.pump_soon()

    def ask_metadata(self, link: PeerLink, first_root: int) -> asyncio.Future[bytes] | None:
        """Asks one peer; its answer, empty where it trusts nothing yet. Cancelled where it leaves; None where
        it was asked so often that it is to be left alone for a while."""

        def send() -> bool:
            return self.swarm.ask_metadata(link, first_root, time.monotonic())

        self.pump_soon()
        return self._questions.asked(link, first_root, send)

    def next_answer(self, link: PeerLink, first_root: int) -> asyncio.Future[bytes]:
        """What a peer that is left alone for now answers to whoever asks it next; cancelled where it
        leaves."""
        return self._questions.next_answer(link, first_root)

    async def wait_for_peer(self, timeout_s: float) -> None:
        """Returns once a peer has joined. Raises NoPeers."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self.swarm.members:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise NoPeers("No peer of this app was found.") from None

    async def wait_for_another(self, timeout_s: float) -> None:
        """Returns when somebody joins, or after `timeout_s`."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()

    async def metadata(self, first_root: int = 1, *, timeout_s: float | None = None) -> bytes:
        """The first answer of any peer; unverified. Raises NoPeers or PeerTimeout."""
        async with contextlib.aclosing(self.offers(first_root, timeout_s=timeout_s)) as offers:
            async for offer in offers:
                return offer.metadata
        raise PeerTimeout("No peer answered with the app's metadata.")

    def offers(self, first_root: int = 1, *, timeout_s: float | None = None) -> AsyncGenerator[Offer, None]:
        """Metadata from up to METADATA_PEERS, as the answers come, so that one that withholds the newest is
        outvoted.

        Asks one after another where some don't answer. While nobody has, it waits for others, and for those
        who left in the middle to come back. Raises NoPeers where nobody is there within `timeout_s`, by
        default METADATA_TIMEOUT_S.
        """
        return offers(
            self, first_root, METADATA_PEERS, METADATA_TIMEOUT_S if timeout_s is None else timeout_s
        )

    async def fetch(
        self,
        blocks: Iterable[BlockRef],
        *,
        progress: Callable[[Progress], None] | None = None,
        foreground: bool = True,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Returns once every block is in the store, verified. What is there already is not fetched.

        `progress` is called every PROGRESS_EVERY_S and at the end.

        Raises NoPeers where nothing moved for `patience_s` or nobody is left, DigestMismatch where nobody is
        left who sends what was signed, Full or StoreError where the store can't take it.
        """
        sizes = {block.id: block.size for block in blocks if not self._service.store.has(block.id)}
        if not sizes:
            return
        now = time.monotonic()
        job = self.swarm.want(sizes, foreground=foreground, now=now)
        fetch = _Fetch(job, dict(sizes), len(sizes), sum(sizes.values()), progress, moved_at=now)
        self._fetches.append(fetch)
        self.dial_soon.set()
        self.pump_soon()
        try:
            await self._patiently(fetch, patience_s)
        finally:
            self._fetches.remove(fetch)
            self.swarm.give_up(job)
            self.pump_soon()
        if fetch.error is not None:
            raise fetch.error

    async def _patiently(self, fetch: _Fetch, patience_s: float) -> None:
        """Waits while blocks come, or peers are there to send them. What made peers be dropped is the error
        to raise.
        """
        while not fetch.finished.is_set():
            now = time.monotonic()
            alone_s = 0.0 if self.swarm.members else now - max(self._alone_since, fetch.moved_at)
            left = min(fetch.moved_at + patience_s - now, ALONE_PATIENCE_S - alone_s)
            if left <= 0:
                missing = f"{len(fetch.sizes)} of {fetch.total_blocks} blocks are missing"
                raise fetch.refusal or NoPeers(f"No peer sent anything for a while; {missing}.")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, PATIENCE_CHECK_S)):
                    await fetch.finished.wait()

    async def leave(self) -> None:
        """Leaves the swarm: peers are told, nothing of the app is served any more."""
        await self._service.leave(self)

    # -- for the service

    def peer_joined(self, link: PeerLink, channel: int, *, near: bool) -> None:
        now = time.monotonic()
        member = Member(
            peer_id=link.peer_id,
            channel=channel,
            host=link.address[0],
            listen=link.listen_address,
            near=near,
            now=now,
            origin=self._origin_of(link),
        )
        self.swarm.joined(link, member, now)
        self._changed.set()
        self.pump_soon()

    def _origin_of(self, link: PeerLink) -> str:
        """How we found a peer that we dialled; one that dialled us came by itself."""
        origin = self.dialer.origin_of(link.address) if link.initiator else None
        return INCOMING if origin is None else origin.name.lower()

    def peer_left(self, link: PeerLink) -> None:
        self.swarm.left(link, time.monotonic())
        self._alone_since = time.monotonic()
        self._questions.left(link)
        self.pump_soon()

    def pump_soon(self) -> None:
        """Carries out what the core wants, once the present batch of events is in."""
        if not self._pump_due:
            self._pump_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        for effect in self.swarm.effects(time.monotonic()):
            if isinstance(effect, Send):
                self._service.send(effect.peer, effect.message)
            elif isinstance(effect, Keep):
                self._keep(effect)
            elif isinstance(effect, Offended):
                self._service.offended(effect.peer, effect.offence)
            elif isinstance(effect, ServeMetadata):
                self._serve_metadata(effect)
            elif isinstance(effect, MetadataCame):
                self._questions.answered(effect.peer, effect.metadata)
            elif isinstance(effect, Newer):
                self._tell_newer(effect)
            elif isinstance(effect, Confirmed):
                self._confirmed(effect.peer)
            elif isinstance(effect, Heard):
                for address in effect.addresses:
                    self.add_peer(address, Origin.EXCHANGE)
        self._service.serve_uploads()

    def _confirmed(self, link: PeerLink) -> None:
        member = self.swarm.members.get(link)
        if member is not None and self.on_confirmed is not None:
            self.on_confirmed(source_of(member.host), member.origin)

    def close(self) -> None:
        """The service ends, or the app left."""
        for task in self._newer_tasks:
            task.cancel()
        self._questions.close()
        self._fail(NoPeers("The swarm was left."))

    def _keep(self, effect: Keep[PeerLink]) -> None:
        link, block_id, size = effect.peer, effect.block_id, len(effect.data)

        def done(error: PearrtError | None) -> None:
            if error is None:
                self._stored(link, block_id, size)
            elif isinstance(error, DigestMismatch):
                self.swarm.rejected(block_id, time.monotonic())
                for fetch in self._fetches:
                    fetch.refusal = error
            else:
                self._fail(error)
            self.pump_soon()

        self._service.keep(block_id, effect.data, done)

    def _stored(self, link: PeerLink, block_id: bytes, size: int) -> None:
        now = time.monotonic()
        self.bytes_from[link.peer_id] += size
        self.swarm.stored(block_id)
        for fetch in self._fetches:
            fetch.stored(block_id, link.peer_id, now)
            if fetch.job.done:
                fetch.finished.set()
        if not self._have_due:
            self._have_due = True
            asyncio.get_running_loop().call_later(HAVE_DELAY_S, self._announce_fresh)
        if not self._have_due_to_seeds:
            self._have_due_to_seeds = True
            asyncio.get_running_loop().call_later(HAVE_DELAY_TO_SEEDS_S, self._announce_fresh_to_seeds)

    def _announce_fresh(self) -> None:
        self._have_due = False
        self.swarm.announce_fresh(to_seeds=False)
        self.pump_soon()

    def _announce_fresh_to_seeds(self) -> None:
        self._have_due_to_seeds = False
        self.swarm.announce_fresh(to_seeds=True)
        self.pump_soon()

    def _fail(self, error: PearrtError) -> None:
        """The store can't take more: every fetch ends with its error."""
        for fetch in self._fetches:
            fetch.error = fetch.error or error
            fetch.finished.set()

    def _serve_metadata(self, effect: ServeMetadata[PeerLink]) -> None:
        from pearrt.peer import messages as wire

        member = self.swarm.members.get(effect.peer)
        metadata = self.app.metadata_from(effect.first_root)
        if member is not None:
            self._service.send(effect.peer, wire.Metadata(member.channel, metadata or b""))

    def _tell_newer(self, effect: Newer[PeerLink]) -> None:
        if self.on_newer is None:
            return
        result = self.on_newer(effect)
        if result is not None:
            task = asyncio.ensure_future(_awaited(result))
            self._newer_tasks.add(task)
            task.add_done_callback(self._newer_tasks.discard)


async def _awaited(result: Awaitable[None]) -> None:
    await result
