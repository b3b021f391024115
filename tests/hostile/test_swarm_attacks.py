"""A peer that knows the topic and breaks the rules of the swarm, over real connections.

It gets nowhere: nothing unverified is kept, memory stays bounded, it is dropped, and others are served as
before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pearrt.crypto.hashes import sha256
from pearrt.errors import PearrtError
from pearrt.peer import messages as wire
from pearrt.peer.link import PeerLink
from pearrt.peer.service import PeerService
from pearrt.peer.topic import channel_of, join_proof
from pearrt.swarm.bundle_state import ref_of
from pearrt.swarm.membership import Membership
from tests.support.swarm_apps import Bundle, FakeApp, Peer, running_peer

BUNDLE = Bundle.make(8)


@dataclass
class Attacker:
    """Speaks the peer protocol by hand."""

    peers: PeerService
    topic: bytes
    link: PeerLink | None = None
    channel: int = 0
    heard: list[wire.Message] = field(default_factory=list)
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    answer: Callable[[wire.Message], None] = lambda message: None

    async def join(self, victim: Peer, *, prove: bool = True) -> None:
        self.link = await self.peers.connect(victim.address)
        self.link.receiver = self
        self.channel = channel_of(self.topic, self.link.handshake_hash)
        if prove:
            proof = join_proof(self.topic, self.link.handshake_hash, by_initiator=True)
            self.link.send(wire.Join((proof,)))

    def send(self, *messages: wire.Message) -> None:
        assert self.link is not None
        for message in messages:
            self.link.send(message)

    def message_received(self, link: PeerLink, message: wire.Message) -> None:
        self.heard.append(message)
        self.answer(message)

    def link_ready(self, link: PeerLink) -> None:
        pass

    def link_lost(self, link: PeerLink, error: PearrtError | None) -> None:
        self.lost.set()

    async def dropped(self) -> None:
        async with asyncio.timeout(5):
            await self.lost.wait()

    async def until(self, kind: type[wire.Message]) -> wire.Message:
        async with asyncio.timeout(5):
            while True:
                for message in self.heard:
                    if isinstance(message, kind):
                        return message
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def attacked(
    folder: Path, *, holds: bool = True, app: FakeApp | None = None
) -> AsyncIterator[tuple[Peer, Membership, Attacker]]:
    """A victim that follows an app (and holds its bundle), and an attacker."""
    app = app or FakeApp(current=b"5")
    async with running_peer(folder / "victim") as victim:
        if holds:
            BUNDLE.put_into(victim.store)
        membership = await victim.swarm.join(app)
        membership.set_bundle(BUNDLE.digest, BUNDLE.ids)
        attacker: list[Attacker] = []
        async with PeerService(
            identity_seed=os.urandom(32), bind=("127.0.0.1", 0), agent="evil", on_link=lambda link: None
        ) as peers:
            attacker.append(Attacker(peers, app.topic))
            yield victim, membership, attacker[0]


async def test_blocks_nobody_asked_for_are_not_kept_and_end_the_link(tmp_path: Path) -> None:
    async with attacked(tmp_path) as (victim, _, attacker):
        await attacker.join(victim)
        blocks = [os.urandom(1000) for _ in range(200)]
        attacker.send(*(wire.Block(sha256(data), data) for data in blocks))
        await attacker.dropped()
        assert not any(victim.store.has(sha256(data)) for data in blocks)


async def test_a_block_before_any_app_ends_the_link(tmp_path: Path) -> None:
    async with attacked(tmp_path) as (victim, _, attacker):
        await attacker.join(victim, prove=False)
        attacker.send(wire.Block(bytes(32), b"x"))
        await attacker.dropped()


async def test_a_wrong_block_bans_its_sender_and_another_peer_serves(tmp_path: Path) -> None:
    async with attacked(tmp_path, holds=False) as (victim, membership, attacker):

        def answer(message: wire.Message) -> None:
            if isinstance(message, wire.Request):
                attacker.send(*(wire.Block(block_id, b"wrong") for block_id in message.ids))

        attacker.answer = answer
        await attacker.join(victim)
        attacker.send(wire.HaveAll(attacker.channel, BUNDLE.digest))
        fetching = asyncio.create_task(membership.fetch(BUNDLE.refs))
        await attacker.dropped()
        assert victim.swarm.reputation.banned(attacker.peers.peer_id, "127.0.0.1", time.time())
        async with running_peer(tmp_path / "honest") as honest:
            BUNDLE.put_into(honest.store)
            (await honest.swarm.join(FakeApp(current=b"5"))).set_bundle(BUNDLE.digest, BUNDLE.ids)
            membership.add_peer(honest.address)
            await fetching
        assert membership.bytes_from[attacker.peers.peer_id] == 0
        attacker.lost.clear()
        await attacker.join(victim)
        await attacker.dropped()


@pytest.mark.parametrize(
    "message",
    [
        lambda channel: wire.Have(channel, ref_of(BUNDLE.digest), (8,)),
        lambda channel: wire.Have(channel, ref_of(BUNDLE.digest), (2**32 - 1,)),
        lambda channel: wire.Bitfield(channel, BUNDLE.digest, b"\xff\xff"),
        lambda channel: wire.Bitfield(channel, BUNDLE.digest, bytes(1 << 18)),
        lambda channel: wire.Promise(channel, ref_of(BUNDLE.digest), (8,)),
        lambda channel: wire.Metadata(channel, b"unasked"),
    ],
    ids=[
        "HAVE past the end",
        "HAVE 2^32-1",
        "BITFIELD too long",
        "BITFIELD huge",
        "PROMISE past the end",
        "METADATA",
    ],
)
async def test_what_cannot_be_ends_the_link(tmp_path: Path, message: Callable[[int], wire.Message]) -> None:
    async with attacked(tmp_path) as (victim, _, attacker):
        await attacker.join(victim)
        await attacker.until(wire.HaveAll)
        attacker.send(message(attacker.channel))
        await attacker.dropped()


async def test_more_topics_than_anybody_has_end_the_link(tmp_path: Path) -> None:
    async with attacked(tmp_path) as (victim, _, attacker):
        await attacker.join(victim)
        for start in range(0, 2000, 250):
            attacker.send(wire.Join(tuple(n.to_bytes(32) for n in range(start, start + 250))))
        await attacker.dropped()


async def test_a_request_flood_costs_the_flooder_only(tmp_path: Path) -> None:
    async with attacked(tmp_path) as (victim, _, attacker):
        await attacker.join(victim)
        await attacker.until(wire.HaveAll)
        for n in range(100):
            attacker.send(wire.Request(attacker.channel, tuple((64 * n + m).to_bytes(32) for m in range(64))))
        async with running_peer(tmp_path / "honest") as honest:
            leecher = await honest.swarm.join(FakeApp(current=b"5"))
            leecher.set_bundle(BUNDLE.digest, BUNDLE.ids)
            leecher.add_peer(victim.address)
            await leecher.fetch(BUNDLE.refs)
        await attacker.dropped()
        assert victim.swarm.uploads.waiting(attacker.link) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["HAVE", "BITFIELD", "HAVE_ALL", "JOIN and LEAVE"])
async def test_saying_the_same_over_and_over_ends_the_link(tmp_path: Path, kind: str) -> None:
    async with attacked(tmp_path) as (victim, _, attacker):
        await attacker.join(victim)
        await attacker.until(wire.HaveAll)
        assert attacker.link is not None
        proof = join_proof(attacker.topic, attacker.link.handshake_hash, by_initiator=True)
        messages: dict[str, tuple[wire.Message, ...]] = {
            "HAVE": (wire.Have(attacker.channel, ref_of(BUNDLE.digest), (1,) * 1024),),
            "BITFIELD": (wire.Bitfield(attacker.channel, BUNDLE.digest, b"P"),),
            "HAVE_ALL": (wire.HaveAll(attacker.channel, bytes(32)),),
            "JOIN and LEAVE": (wire.Leave(attacker.channel), wire.Join((proof,))),
        }
        for _ in range(200):
            attacker.send(*messages[kind])
        await attacker.dropped()


async def test_asking_the_same_blocks_for_ever_is_bounded(tmp_path: Path) -> None:
    async with attacked(tmp_path) as (victim, membership, attacker):
        await attacker.join(victim)
        await attacker.until(wire.HaveAll)
        for _ in range(50):
            attacker.send(wire.Request(attacker.channel, tuple(BUNDLE.ids)))
            attacker.send(wire.AnyBlocks(attacker.channel, ref_of(BUNDLE.digest), 255))
        await asyncio.sleep(0.1)
        assert attacker.link is not None
        assert victim.swarm.uploads.waiting(next(iter(membership.swarm.members))) <= 256 + 64


async def test_a_flood_of_metadata_questions_ends_the_link(tmp_path: Path) -> None:
    app = FakeApp(current=b"5")
    app.metadata = b"m" * 100_000
    async with attacked(tmp_path, app=app) as (victim, _, attacker):
        await attacker.join(victim)
        await attacker.until(wire.HaveAll)
        attacker.send(*(wire.GetMetadata(attacker.channel, 1) for _ in range(100)))
        await attacker.dropped()
        assert sum(isinstance(message, wire.Metadata) for message in attacker.heard) <= 16


async def test_a_peer_exchange_flood_ends_the_link_and_fills_nothing(tmp_path: Path) -> None:
    async with attacked(tmp_path) as (victim, membership, attacker):
        await attacker.join(victim)
        await attacker.until(wire.HaveAll)
        for n in range(100):
            addresses = tuple((f"127.{n + 1}.{m}.1", 1) for m in range(50))
            attacker.send(wire.Peers(attacker.channel, addresses))
        await attacker.dropped()
        assert len(membership.dialer._known) <= 5


async def test_forged_timestamps_are_not_told_on_and_end_the_link(tmp_path: Path) -> None:
    async with attacked(tmp_path) as (victim, _, attacker), running_peer(tmp_path / "bystander") as bystander:
        heard: list[bytes] = []
        other = await bystander.swarm.join(FakeApp(current=b"5"))
        other.on_newer = lambda newer: heard.append(newer.timestamp)
        other.add_peer(victim.address)
        await other.wait_for_peer(5)
        await attacker.join(victim)
        await attacker.until(wire.Timestamp)
        attacker.send(wire.Timestamp(attacker.channel, b"\xffforged"))
        await attacker.dropped()
        assert heard == []


async def test_an_older_timestamp_after_a_newer_changes_nothing_and_is_answered(tmp_path: Path) -> None:
    async with attacked(tmp_path, app=FakeApp(current=b"3")) as (victim, membership, attacker):
        app = membership.app
        assert isinstance(app, FakeApp)

        def adopt(newer: object) -> None:
            app.current = b"6"
            membership.timestamp_changed()

        membership.on_newer = adopt
        await attacker.join(victim)
        await attacker.until(wire.Timestamp)
        attacker.send(wire.Timestamp(attacker.channel, b"6"))
        attacker.send(wire.Timestamp(attacker.channel, b"4"))
        await asyncio.sleep(0.05)
        assert app.current == b"6"
        assert not attacker.lost.is_set()


async def test_one_that_withholds_only_the_newest_timestamp_hides_nothing(tmp_path: Path) -> None:
    async with attacked(tmp_path, app=FakeApp(current=b"3")) as (victim, membership, attacker):
        heard = asyncio.Event()
        membership.on_newer = lambda newer: heard.set()
        await attacker.join(victim)
        await attacker.until(wire.Timestamp)
        attacker.send(wire.Timestamp(attacker.channel, b"3"))
        async with running_peer(tmp_path / "honest") as honest:
            await honest.swarm.join(FakeApp(current=b"6"))
            membership.add_peer(honest.address)
            async with asyncio.timeout(5):
                await heard.wait()
            assert next(iter(membership.swarm.best_informed())).peer_id == honest.peers.peer_id


async def test_metadata_is_asked_of_others_where_one_stays_silent(tmp_path: Path) -> None:
    async with attacked(tmp_path, app=FakeApp()) as (victim, membership, attacker):
        await attacker.join(victim)
        await attacker.until(wire.HaveAll)
        async with running_peer(tmp_path / "honest") as honest:
            app = FakeApp(current=b"6")
            app.metadata = b"signed"
            await honest.swarm.join(app)
            membership.add_peer(honest.address)
            async with asyncio.timeout(5):
                while len(membership.peers) < 2:
                    await asyncio.sleep(0.01)
            assert await membership.metadata(1, timeout_s=3) == b"1:signed"


async def test_messages_on_a_channel_that_was_not_joined_are_left_alone(tmp_path: Path) -> None:
    async with attacked(tmp_path) as (victim, membership, attacker):
        await attacker.join(victim, prove=False)
        attacker.send(
            wire.Request(attacker.channel, tuple(BUNDLE.ids)), wire.Timestamp(attacker.channel, b"9")
        )
        attacker.send(wire.GetMetadata(attacker.channel, 1), wire.Ping(bytes(8)))
        await asyncio.sleep(0.1)
        assert not any(isinstance(m, wire.Block | wire.Metadata) for m in attacker.heard)
        assert membership.peers == []
