"""The swarm of all apps of this process: links, topics, serving, finding and dialling. An asyncio shell
around `AppSwarm` (one per app), `UploadQueue`, `Reputation` and `Dialer`.

    swarm = SwarmService(store=store, finders=[...])
    peers = PeerService(..., on_link=swarm.link_opened)
    swarm.attach(peers)
    async with peers, swarm:
        membership = await swarm.join(app)

A link that shares no app is closed after IDLE_S. Banned peers are refused. Foreground fetches pause
background ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import TracebackType

from pearrt.errors import PearrtError, ProtocolViolation, RemoteError, StoreError
from pearrt.peer import messages as wire
from pearrt.peer.bodies import Buffer
from pearrt.peer.link import PeerLink
from pearrt.peer.service import PeerService
from pearrt.store.service import Store
from pearrt.swarm.circle import Circle
from pearrt.swarm.dialer import WANTED_PEERS
from pearrt.swarm.effects import SwarmApp
from pearrt.swarm.finders import CachedFinder, PeerFinder
from pearrt.swarm.finding import Finding
from pearrt.swarm.intake import Done, Intake
from pearrt.swarm.membership import Membership
from pearrt.swarm.remembered import Remembered
from pearrt.swarm.reputation import Offence, Reputation
from pearrt.swarm.scope import Address, Scope, near, scope_of
from pearrt.swarm.shelf import Read, Shelf, settle
from pearrt.swarm.sought import Sought
from pearrt.swarm.topics import LinkTopics
from pearrt.swarm.uplink import Uplink
from pearrt.swarm.upload import UploadQueue

IDLE_S = 30.0
TICK_S = 1.0
DRAIN_POLL_S = 0.05
SAVE_EVERY_S = 300.0  # what a kill may cost of the memory of good peers

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Session:
    """What is known of one link."""

    link: PeerLink
    topics: LinkTopics
    near: bool
    opened_at: float
    dialled: set[Address] = field(default_factory=set)
    owed: Counter[bytes] = field(default_factory=Counter)  # blocks that the peer was asked for by shelves


class SwarmService:
    """See the module. `folder` keeps peers that answered and bans across restarts; None keeps nothing."""

    def __init__(
        self,
        *,
        store: Store,
        finders: Sequence[PeerFinder] = (),
        folder: Path | None = None,
        wanted_peers: int = WANTED_PEERS,
        rng: Random | None = None,
    ) -> None:
        self.store = store
        self.wanted_peers = wanted_peers
        self.reputation = Reputation()
        self.uploads: UploadQueue[PeerLink] = UploadQueue(self._choose)
        self._remembered = Remembered(folder)
        self._finders = [*finders, CachedFinder(self._remembered.peers)]
        self._rng = rng or Random()  # noqa: S311 - ties and jitter, no secrets
        self._peers: PeerService | None = None
        self._memberships: dict[bytes, Membership] = {}
        self._passing: dict[bytes, Circle | Shelf] = {}  # what running apps open and leave
        self._sessions: dict[PeerLink, _Session] = {}
        self._intake = Intake(store)
        self._uplink = Uplink(store, self.uploads, self._channel_of, self._served, self._lost)
        self._finding: dict[bytes, asyncio.Task[None]] = {}
        self._ticker: asyncio.Task[None] | None = None

    # -- life

    def attach(self, peers: PeerService) -> None:
        """The peer service whose `on_link` is our `link_opened`."""
        self._peers = peers

    async def __aenter__(self) -> SwarmService:
        assert self._peers is not None, "attach a PeerService first"
        self._intake.start(asyncio.get_running_loop())
        self.reputation = await asyncio.to_thread(self._remembered.load, time.time())
        self._ticker = asyncio.create_task(self._tick(), name="swarm tick")
        self._ticker.add_done_callback(_report)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._save()
        for membership in list(self._memberships.values()):
            await self.leave(membership)
        finding = list(self._finding.values())
        for each in list(self._passing.values()):
            self.go(each)
        await asyncio.gather(*finding, return_exceptions=True)
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        for link in list(self._sessions):
            link.close("shutting down", code=wire.BYE_SHUTDOWN)
        await self._intake.stop()
        self._uplink.close()

    async def retire(self) -> None:
        """Looks for nobody and fetches nothing any more; what peers fetch from here goes on. The memory of
        good peers is saved for whoever follows."""
        await self._save()
        finding = list(self._finding.values())
        for each in list(self._passing.values()):
            self.go(each)  # whoever follows joins them
        for task in finding:
            task.cancel()
        await asyncio.gather(*finding, return_exceptions=True)

    async def drain(self, timeout_s: float) -> None:
        """After `retire`: closes each link once its peer has all that it asked for, and all after
        `timeout_s`. A peer that wants more comes back to whoever listens now."""
        deadline = time.monotonic() + timeout_s
        while self._sessions and time.monotonic() < deadline:
            for link in list(self._sessions):
                if not self.uploads.busy_with(link) and not link.queued_bytes:
                    link.close("handing over", code=wire.BYE_SHUTDOWN)
            await asyncio.sleep(DRAIN_POLL_S)
        for link in list(self._sessions):
            link.close("handing over", code=wire.BYE_SHUTDOWN)

    async def join(self, app: SwarmApp) -> Membership:
        """Joins an app's swarm (or returns the membership there is): finds peers, serves, listens to
        gossip.
        """
        existing = self._memberships.get(app.topic)
        if existing is not None:
            return existing
        membership = Membership(self, app, self._rng)
        self._memberships[app.topic] = membership
        assert self._peers is not None
        membership.ourselves |= set(self._peers.addresses)
        self._find(membership)
        try:
            for session in list(self._sessions.values()):
                self._offer(session, [app.topic])
        except BaseException:
            await self.leave(membership)
            raise
        return membership

    async def leave(self, membership: Membership) -> None:
        """See `Membership.leave`."""
        if self._memberships.pop(membership.topic, None) is None:
            return
        self._remembered.keep(membership.topic, membership.dialer.good())
        finding = self._finding.pop(membership.topic)
        finding.cancel()
        membership.close()
        self._withdraw(membership)  # at once: while the search ends, somebody may join the app again
        await asyncio.gather(finding, return_exceptions=True)

    def enter(
        self, topic: bytes, *, heard: Callable[[str, bytes], None], changed: Callable[[str, bool], None]
    ) -> Circle:
        """Joins a circle that was not joined: finds its members, tells of them and of what they say."""
        circle = Circle(topic, self._rng, heard=heard, changed=changed, wanted_peers=self.wanted_peers)
        self._open(circle)
        return circle

    def open_shelf(self, topic: bytes, read: Read) -> Shelf:
        """Joins a shelf that was not joined: gives what `read` finds to its members."""
        shelf = Shelf(topic, self._rng, read=read, owed=self._owed, wanted_peers=self.wanted_peers)
        self._open(shelf)
        return shelf

    def _open(self, opened: Circle | Shelf) -> None:
        assert self._peers is not None
        assert opened.topic not in self._passing
        opened.ourselves |= set(self._peers.addresses)
        self._passing[opened.topic] = opened
        self._find(opened)
        for session in list(self._sessions.values()):
            self._offer(session, [opened.topic], passing=True)

    def go(self, left: Circle | Shelf) -> None:
        """Leaves a circle or shelf; nothing is told of it any more."""
        if self._passing.pop(left.topic, None) is None:
            return
        self._finding.pop(left.topic).cancel()
        self._withdraw(left)
        if isinstance(left, Shelf):
            left.close()

    def _owed(self, link: PeerLink) -> Counter[bytes]:
        return self._sessions[link].owed

    def _find(self, sought: Sought) -> None:
        assert self._peers is not None
        finding = Finding(sought, self._finders, self._peers, self._dialled, self._is_banned)
        task = asyncio.create_task(finding.run(), name="swarm finding")
        task.add_done_callback(_report)
        self._finding[sought.topic] = task

    def _withdraw(self, sought: Sought) -> None:
        for session in list(self._sessions.values()):
            channel = session.topics.withdraw(sought.topic)
            if channel is not None:
                session.link.send(wire.Leave(channel))
                self._peer_left(session, sought)

    def _sought(self, topic: bytes | None) -> Membership | Circle | Shelf | None:
        return None if topic is None else self._memberships.get(topic) or self._passing.get(topic)

    @property
    def peer_id(self) -> bytes:
        """Our Ed25519 public key."""
        assert self._peers is not None
        return self._peers.peer_id

    @property
    def memberships(self) -> list[Membership]:
        return list(self._memberships.values())

    # -- links

    def link_opened(self, link: PeerLink) -> None:
        """For `PeerService(on_link=...)`."""
        if self._is_banned(link.peer_id, link.address[0]):
            link.close("banned for a while", code=wire.BYE_LIMIT)
            return
        session = _Session(
            link,
            LinkTopics(link.handshake_hash, initiator=link.initiator),
            _is_near(link),
            time.monotonic(),
        )
        self._sessions[link] = session
        link.receiver = self
        self._offer(session, list(self._memberships))
        self._offer(session, list(self._passing), passing=True)

    def _offer(self, session: _Session, topics: list[bytes], *, passing: bool = False) -> None:
        proofs, joined = session.topics.offer(topics, time.monotonic(), passing=passing)
        for at in range(0, len(proofs), wire.MAX_PROOFS):
            session.link.send(wire.Join(tuple(proofs[at : at + wire.MAX_PROOFS])))
        for each in joined:
            self._joined(session, each.topic, each.channel)

    def _joined(self, session: _Session, topic: bytes, channel: int) -> None:
        membership = self._sought(topic)
        if membership is None:
            return
        listen = session.link.listen_address
        for address in session.dialled | ({listen} if listen else set()):
            membership.dialer.succeeded(address)
        membership.peer_joined(session.link, channel, near=session.near)

    def message_received(self, link: PeerLink, message: wire.Message) -> None:
        """A message came (LinkReceiver). RemoteErrors of handlers close the link for the peer's fault."""
        session = self._sessions.get(link)
        if session is None:
            return
        try:
            self._dispatch(session, message)
        except RemoteError:
            self.reputation.offend(link.peer_id, link.address[0], Offence.VIOLATION, time.time())
            raise

    def _dispatch(self, session: _Session, message: wire.Message) -> None:
        if isinstance(message, wire.Block):
            self._block(session, message)
            return
        if isinstance(message, wire.Join):
            for joined in session.topics.proofs(message.proofs, time.monotonic()):
                self._joined(session, joined.topic, joined.channel)
            for left_channel in session.topics.farewells():
                session.link.send(wire.Leave(left_channel))
            return
        if isinstance(message, wire.Leave):
            topic = session.topics.left(message.channel)
            if topic is not None and (left := self._sought(topic)) is not None:
                self._peer_left(session, left)
            return
        channel = getattr(message, "channel", None)
        if channel is None:
            raise ProtocolViolation(f"A {type(message).__name__} out of place.")
        membership = self._sought(session.topics.joined.get(channel))
        if isinstance(membership, Circle | Shelf):
            membership.received(session.link, message, time.monotonic())
        elif isinstance(message, wire.AppMessage) and membership is not None:
            raise ProtocolViolation("An app's message outside of any circle.")
        elif membership is not None:  # else: it crossed our LEAVE
            membership.swarm.received(session.link, message, time.monotonic())
            membership.pump_soon()
            if isinstance(message, wire.Cancel):
                self._uplink.cancelled(session.link, message.ids)

    def _block(self, session: _Session, message: wire.Block) -> None:
        last: Membership | None = None
        for topic in session.topics.joined.values():
            last = self._memberships.get(topic, last)
            if last is not None and last.swarm.expects(message.id):
                last.swarm.received(session.link, message, time.monotonic())
                last.pump_soon()
                return
        if settle(session.owed, message.id):
            self._owed_block(session, message)
            return
        if last is None:
            raise ProtocolViolation("A block outside of any app.")
        last.swarm.stray(session.link, time.monotonic())
        last.pump_soon()

    def _owed_block(self, session: _Session, message: wire.Block) -> None:
        for topic in session.topics.joined.values():
            shelf = self._passing.get(topic)
            if isinstance(shelf, Shelf):
                shelf.block(session.link, message)

    def link_ready(self, link: PeerLink) -> None:
        """The link can take another block (LinkReceiver)."""
        self._uplink.link_ready(link)

    def link_lost(self, link: PeerLink, error: PearrtError | None) -> None:
        """The link ended (LinkReceiver)."""
        session = self._sessions.pop(link, None)
        if session is None:
            return
        for topic in list(session.topics.joined.values()):
            membership = self._sought(topic)
            if membership is not None:
                self._peer_left(session, membership)
        self._uplink.link_lost(link)
        if error is not None:
            log.debug("link to %s ended: %s", link.peer_id.hex()[:8], error)

    def _peer_left(self, session: _Session, membership: Sought) -> None:
        membership.peer_left(session.link)
        now = time.monotonic()
        listen = session.link.listen_address
        for address in session.dialled | ({listen} if listen else set()):
            membership.dialer.lost(address, now)
        membership.dial_soon.set()

    # -- for memberships

    def send(self, link: PeerLink, message: wire.Message) -> None:
        if not link.closed:
            link.send(message)

    def keep(self, block_id: bytes, data: Buffer, done: Done) -> None:
        self._intake.put(block_id, data, done)
        self._pace()

    def serve_uploads(self) -> None:
        self._pace()
        if not self.uploads.idle:
            self._uplink.serve_soon()

    def offended(self, link: PeerLink, offence: Offence) -> None:
        """A peer broke a rule: remembered, and its link closed."""
        banned = self.reputation.offend(link.peer_id, link.address[0], offence, time.time())
        log.info("peer %s %s%s", link.peer_id.hex()[:8], offence.value, ": banned" if banned else "")
        link.close(offence.value, code=wire.BYE_VIOLATION)

    def _pace(self) -> None:
        """Nothing new is asked for while the store is behind, nothing in the background while somebody
        waits.
        """
        full = self._intake.full
        moving = full or any(membership.swarm.moving for membership in self._memberships.values())
        for membership in self._memberships.values():
            membership.swarm.pause(foreground=full, background=moving)

    def _choose(self, link: PeerLink, scope: object, ref: int) -> tuple[bytes, int] | None:
        membership = self._memberships.get(scope) if isinstance(scope, bytes) else None
        return membership.swarm.choose(link, ref) if membership else None

    def _channel_of(self, link: PeerLink, topic: bytes) -> int | None:
        membership = self._memberships.get(topic)
        member = membership.swarm.members.get(link) if membership else None
        return member.channel if member else None

    def _served(self, link: PeerLink, topic: bytes, size: int) -> None:
        membership = self._memberships.get(topic)
        member = membership.swarm.members.get(link) if membership else None
        if membership and member:
            member.bytes_to += size
            membership.bytes_to[link.peer_id] += size

    def _lost(self, topic: bytes, block_id: bytes) -> None:
        membership = self._memberships.get(topic)
        if membership:
            membership.swarm.lost(block_id)
            membership.pump_soon()

    # -- dialling and time

    def _is_banned(self, peer_id: bytes | None, host: str) -> bool:
        return self.reputation.banned(peer_id, host, time.time())

    def _dialled(self, membership: Sought, address: Address, link: PeerLink) -> None:
        """A dial of `membership` led to `link`."""
        session = self._sessions.get(link)
        if session is None:
            membership.dialer.failed(address, time.monotonic())
            return
        session.dialled.add(address)
        if link in membership.members:
            membership.dialer.succeeded(address)

    async def _tick(self) -> None:
        saved_at = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            if now - saved_at > SAVE_EVERY_S:
                saved_at = now
                await self._save()
            for membership in self._memberships.values():
                membership.swarm.tick(now)
                membership.pump_soon()
            for session in list(self._sessions.values()):
                if held_back := session.topics.held_back():
                    self._offer(session, held_back)
                if not session.topics.joined and now - session.opened_at > IDLE_S:
                    session.link.close("no app in common", code=wire.BYE_IDLE)

    async def _save(self) -> None:
        for membership in self._memberships.values():
            self._remembered.keep(membership.topic, membership.dialer.good())
        with contextlib.suppress(StoreError):
            await asyncio.to_thread(self._remembered.save, self.reputation, time.time())


def _is_near(link: PeerLink) -> bool:
    """Whether the peer is on our site, as far as addresses tell."""
    host = link.address[0]
    return scope_of(host) < Scope.WORLD or near(link.local_host, host)


def _report(task: asyncio.Task[None]) -> None:
    """A task that should run for ever ended: a bug of ours, worth a traceback in the log."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s ended: %s", task.get_name(), error, exc_info=error)
