"""Shelves over real links on loopback: who knows a name gets the block; who floods, lies or is silent costs
the others nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from pearrt.crypto.hashes import sha256
from pearrt.errors import PeerTimeout
from pearrt.link import topic_of
from pearrt.peer import messages as wire
from pearrt.peer.link import PeerLink
from pearrt.swarm import shelf as shelves
from pearrt.swarm.dialer import Origin
from pearrt.swarm.shelf import MAX_SHELF_BLOCK_BYTES, Shelf, shelf_topic
from tests.support.swarm_apps import FakeApp, Peer, running_peer

TOPIC = shelf_topic(topic_of(b"a" * 32))


class Kept:
    """One machine with a shelf, and what is on it."""

    def __init__(self, peer: Peer, *, topic: bytes = TOPIC) -> None:
        self.peer, self.blocks = peer, dict[bytes, bytes]()
        self.reads: list[bytes] = []
        self.shelf = peer.swarm.open_shelf(topic, self._read)

    async def _read(self, block_id: bytes) -> bytes | None:
        self.reads.append(block_id)
        return self.blocks.get(block_id)

    def put(self, data: bytes) -> bytes:
        self.blocks[sha256(data)] = data
        return sha256(data)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def knows(one: Kept, other: Kept) -> None:
    before = len(one.shelf.members)
    one.shelf.add_peer(other.peer.address, Origin.CONFIGURED)
    await until(lambda: len(one.shelf.members) > before)


@pytest.fixture
async def machines(tmp_path: Path) -> AsyncIterator[list[Kept]]:
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(running_peer(tmp_path / str(n))) for n in range(4)]
        yield [Kept(peer) for peer in peers]


def link_of(shelf: Shelf) -> PeerLink:
    [link] = shelf.members
    return link


async def test_a_block_comes_from_whoever_has_it(machines: list[Kept]) -> None:
    asker, *others = machines
    for other in others:
        await knows(asker, other)
    large = others[1].put(b"x" * MAX_SHELF_BLOCK_BYTES)
    small = [others[n % 3].put(b"small %d" % n) for n in range(50)]
    assert await asker.shelf.fetch(large, 5) == others[1].blocks[large]
    found = await asyncio.gather(*(asker.shelf.fetch(block_id, 5) for block_id in small))
    assert [sha256(data) for data in found] == small


async def test_two_who_want_one_block_ask_for_it_once(machines: list[Kept]) -> None:
    asker, other = machines[:2]
    await knows(asker, other)
    block_id = other.put(b"one")
    assert await asyncio.gather(*(asker.shelf.fetch(block_id, 5) for _ in range(5))) == [b"one"] * 5
    assert other.reads == [block_id]


async def test_a_block_that_nobody_has_is_waited_for_and_then_told(
    machines: list[Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelves, "AGAIN_AFTER_S", 0.1)
    asker, other = machines[:2]
    with pytest.raises(PeerTimeout, match="Nobody else"):
        await asker.shelf.fetch(b"n" * 32, 0)
    await knows(asker, other)
    with pytest.raises(PeerTimeout, match="None of the members"):
        await asker.shelf.fetch(b"n" * 32, 0.05)
    waiting = asyncio.create_task(asker.shelf.fetch(sha256(b"later"), 5))
    await until(lambda: sha256(b"later") in other.reads)
    other.put(b"later")
    assert await waiting == b"later"


async def test_a_closed_shelf_fetches_nothing(machines: list[Kept]) -> None:
    asker = machines[0]
    waiting = asyncio.create_task(asker.shelf.fetch(b"n" * 32, 60))
    await asyncio.sleep(0)
    asker.peer.swarm.go(asker.shelf)
    async with asyncio.timeout(5):
        for fetch in (waiting, asker.shelf.fetch(b"n" * 32, 60)):  # the second began just too late
            with pytest.raises(PeerTimeout, match="closed"):
                await fetch


async def test_who_comes_later_is_asked_too(machines: list[Kept]) -> None:
    asker, other = machines[:2]
    block_id = other.put(b"from a newcomer")
    waiting = asyncio.create_task(asker.shelf.fetch(block_id, 5))
    await asyncio.sleep(0)
    await knows(asker, other)
    assert await waiting == b"from a newcomer"


async def test_a_member_that_stays_silent_holds_nobody_up(
    machines: list[Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    asker, *silent, honest = machines
    for other in silent:
        monkeypatch.setattr(other.shelf, "received", lambda *_: None)
        await knows(asker, other)
    await knows(asker, honest)
    monkeypatch.setattr(shelves, "ANSWER_S", 0.05)
    monkeypatch.setattr(shelves, "ASKED_AT_ONCE", 1)
    block_id = honest.put(b"here")
    assert await asker.shelf.fetch(block_id, 5) == b"here"
    late = next(link for link in asker.shelf.members if link.peer_id == silent[0].peer.peers.peer_id)
    for _ in range(200):
        if asker.shelf.members[late].owed.total() >= shelves.MAX_OWED:
            break
        with pytest.raises(PeerTimeout):
            await asker.shelf.fetch(b"n" * 32, 0.01)
    assert all(member.owed.total() <= shelves.MAX_OWED for member in asker.shelf.members.values())


async def test_a_block_that_is_not_what_its_name_says_ends_the_link_and_another_is_asked(
    machines: list[Kept],
) -> None:
    asker, liar, honest = machines[:3]
    block_id = honest.put(b"true")
    liar.blocks[block_id] = b"false"
    await knows(asker, liar)
    link = link_of(asker.shelf)
    waiting = asyncio.create_task(asker.shelf.fetch(block_id, 5))
    await until(lambda: link.closed)
    asker.shelf.add_peer(honest.peer.address, Origin.CONFIGURED)
    assert await waiting == b"true"


async def test_a_block_that_nobody_asked_for_ends_the_link(machines: list[Kept]) -> None:
    asker, other = machines[:2]
    await knows(asker, other)
    link = link_of(asker.shelf)
    link_of(other.shelf).send(wire.Block(sha256(b"unasked"), b"unasked"))
    await until(lambda: link.closed)


async def test_a_message_that_is_none_of_a_shelfs_ends_the_link(machines: list[Kept]) -> None:
    asker, other = machines[:2]
    await knows(asker, other)
    link = link_of(other.shelf)
    link.send(wire.AppMessage(other.shelf.members[link].channel, b"hello"))
    await until(lambda: link.closed)


async def test_a_late_block_costs_nobody_the_link_also_when_the_shelf_was_closed(
    machines: list[Kept],
) -> None:
    asker, other = machines[:2]
    one, two = await asker.peer.swarm.join(FakeApp()), await other.peer.swarm.join(FakeApp())
    await knows(asker, other)
    await until(lambda: one.peers and two.peers)
    gate = asyncio.Event()

    async def slow(block_id: bytes) -> bytes | None:
        await gate.wait()
        return b"late"

    other.shelf._read = slow
    waiting = asyncio.create_task(asker.shelf.fetch(sha256(b"late"), 5))
    link = link_of(asker.shelf)
    await until(lambda: asker.shelf.members[link].owed)
    waiting.cancel()
    gate.set()
    await until(lambda: not asker.shelf.members[link].owed)
    gate.clear()
    waiting = asyncio.create_task(asker.shelf.fetch(sha256(b"late"), 5))
    await until(lambda: other.shelf._giving)
    asker.peer.swarm.go(asker.shelf)
    with pytest.raises(PeerTimeout, match="closed"):
        await waiting
    link_of(other.shelf).send(wire.Block(sha256(b"late"), b"late"))
    await asyncio.sleep(0.05)
    assert not link.closed
    assert one.peers


async def test_who_asks_for_too_much_is_told_so_and_others_are_served(
    machines: list[Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, greedy, modest = machines[:3]
    await knows(greedy, server)
    await knows(modest, server)
    block_id = server.put(b"x" * MAX_SHELF_BLOCK_BYTES)
    link = link_of(greedy.shelf)
    told: list[wire.Message] = []
    monkeypatch.setattr(greedy.shelf, "received", lambda _, message, __: told.append(message))
    ids = tuple(number.to_bytes(32) for number in range(64))
    for _ in range(100):
        link.send(wire.Request(greedy.shelf.members[link].channel, ids))
    assert await modest.shelf.fetch(block_id, 5) == server.blocks[block_id]
    await until(lambda: any(isinstance(m, wire.Refuse) and m.reason == wire.BUSY for m in told))
    assert len(server.reads) <= shelves.ID_BURST + 2 * shelves.IDS_PER_S
    assert not link.closed


async def test_many_who_ask_much_cost_no_more_reads_than_all_together_may(
    machines: list[Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, *crowd = machines
    monkeypatch.setattr(server.shelf, "_reads", shelves.Allowance(burst=100, per_s=0, now=0))
    told = 0

    def busy(_: object, message: wire.Message, __: float) -> None:
        nonlocal told
        told += len(message.ids) if isinstance(message, wire.Refuse) else 0

    for asker in crowd:
        await knows(asker, server)
        monkeypatch.setattr(asker.shelf, "received", busy)
        link = link_of(asker.shelf)
        for first in range(0, 64, 16):
            ids = tuple(number.to_bytes(32) for number in range(first, first + 16))
            link.send(wire.Request(asker.shelf.members[link].channel, ids))
    await until(lambda: told == 64 * len(crowd))
    assert len(server.reads) <= 100


async def test_no_more_is_given_than_the_uplink_of_a_shelf(
    machines: list[Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, asker = machines[:2]
    monkeypatch.setattr(server.shelf, "_uplink", shelves.Allowance(burst=100_000, per_s=0, now=0))
    await knows(asker, server)
    ids = [server.put(bytes([n]) * MAX_SHELF_BLOCK_BYTES) for n in range(5)]
    got = await asyncio.gather(*(asker.shelf.fetch(i, 0.5) for i in ids), return_exceptions=True)
    assert sum(isinstance(each, bytes) for each in got) == 3
    assert sum(isinstance(each, PeerTimeout) for each in got) == 2


async def test_who_runs_another_app_cannot_ask(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        mine, other = Kept(a), Kept(b, topic=shelf_topic(topic_of(b"b" * 32)))
        block_id = mine.put(b"mine")
        one, two = await a.swarm.join(FakeApp()), await b.swarm.join(FakeApp())
        two.add_peer(a.address)
        await two.wait_for_peer(5)
        await one.wait_for_peer(5)
        with pytest.raises(PeerTimeout):
            await other.shelf.fetch(block_id, 0.1)
        [(link, member)] = two.swarm.members.items()
        link.send(wire.Request(member.channel, (block_id,)))  # in the app's own channel: not the shelf's
        await asyncio.sleep(0.05)
        assert not mine.reads


def test_the_topic_is_that_of_the_documentation() -> None:
    documented = (Path(__file__).parents[3] / "docs/protocol/peer.md").read_text()
    assert shelf_topic(topic_of(b"\x01" * 32)).hex() in documented
