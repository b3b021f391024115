"""Circles over real links on loopback: who is in hears, who is not learns nothing, who floods is not kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import cast

import pytest

from pearrt.errors import LimitExceeded, ProtocolViolation, UserError
from pearrt.link import topic_of
from pearrt.peer import messages as wire
from pearrt.peer.link import PeerLink
from pearrt.peer.topic import channel_of, join_proof
from pearrt.swarm import topics as topic_proofs
from pearrt.swarm.circle import MAX_MEMBERS, MESSAGE_BURST, SENT_BYTE_BURST, Circle, circle_topic, member_name
from pearrt.swarm.dialer import Origin
from pearrt.swarm.service import SwarmService
from pearrt.swarm.topics import JOIN_BURST, MAX_UNMATCHED, LinkTopics
from tests.support.swarm_apps import FakeApp, running_peer

APP = topic_of(b"a" * 32)
NOW = 1000.0
TABLE = circle_topic(APP, "table")


class Ears:
    """A circle, and what was heard in it."""

    def __init__(self, swarm: SwarmService, topic: bytes = TABLE) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.here: set[str] = set()
        self.circle = swarm.enter(
            topic, heard=lambda who, data: self.heard.append((who, data)), changed=self._changed
        )

    def _changed(self, who: str, here: bool) -> None:
        (self.here.add if here else self.here.discard)(who)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_members_hear_each_other_and_know_who_spoke(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        one, two = Ears(a.swarm), Ears(b.swarm)
        two.circle.add_peer(a.address, Origin.CONFIGURED)
        await until(lambda: one.here and two.here)
        assert one.circle.names == [member_name(TABLE, b.peers.peer_id)]
        assert one.circle.send(b"hello") == 1
        assert two.circle.send(b"x" * wire.MAX_APP_MESSAGE_BYTES, to=two.circle.names[0]) == 1
        assert two.circle.send(b"nobody", to="0" * 32) == 0
        await until(lambda: one.heard and two.heard)
        assert two.heard == [(member_name(TABLE, a.peers.peer_id), b"hello")]
        assert one.heard[0][1] == b"x" * wire.MAX_APP_MESSAGE_BYTES
        b.swarm.go(two.circle)
        await until(lambda: not one.here)
        assert one.circle.send(b"gone") == 0
        again = Ears(b.swarm)
        await until(lambda: one.here and again.here)
        assert two.heard[1:] == []


async def test_a_peer_of_the_same_app_that_never_joined_learns_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running_peer(tmp_path / "a") as a,
        running_peer(tmp_path / "b") as b,
        running_peer(tmp_path / "c") as c,
    ):
        seen: list[wire.Message] = []
        told = c.swarm.message_received

        def see(link: PeerLink, message: wire.Message) -> None:
            seen.append(message)
            told(link, message)

        monkeypatch.setattr(c.swarm, "message_received", see)
        one, two = Ears(a.swarm), Ears(b.swarm)
        other = Ears(c.swarm, circle_topic(APP, "another"))
        outsider = await c.swarm.join(FakeApp())
        for peer in (a, b):
            (await peer.swarm.join(FakeApp())).add_peer(c.address)
        two.circle.add_peer(a.address, Origin.CONFIGURED)
        await until(lambda: one.here and two.here and len(outsider.peers) == 2)
        one.circle.send(b"secret")
        await until(lambda: two.heard)
        assert not other.here
        assert not other.heard
        assert not any(isinstance(message, wire.AppMessage) for message in seen)
        proofs = {proof for message in seen if isinstance(message, wire.Join) for proof in message.proofs}
        assert len(proofs) == 4  # two of each: the app's, which it knows, and one that it can do nothing with
        assert TABLE not in proofs


async def test_an_apps_message_outside_of_a_circle_ends_the_link(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        one, two = await a.swarm.join(FakeApp()), await b.swarm.join(FakeApp())
        two.add_peer(a.address)
        await two.wait_for_peer(5)
        await one.wait_for_peer(5)
        [(link, member)] = two.swarm.members.items()
        link.send(wire.AppMessage(member.channel, b"x"))
        await until(lambda: link.closed)


async def test_other_messages_in_a_circle_end_the_link_and_unknown_channels_are_nothing(
    tmp_path: Path,
) -> None:
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        one, two = Ears(a.swarm), Ears(b.swarm)
        two.circle.add_peer(a.address, Origin.CONFIGURED)
        await until(lambda: one.here and two.here)
        [(link, member)] = two.circle.members.items()
        link.send(wire.AppMessage(member.channel ^ 1, b"x"))
        link.send(wire.AppMessage(member.channel, b"y"))
        await until(lambda: one.heard)
        assert [data for _, data in one.heard] == [b"y"]
        link.send(wire.HaveAll(member.channel, bytes(32)))
        await until(lambda: link.closed and not one.here)


class FakeLink:
    """A link that counts."""

    closed, queued_bytes = False, 0

    def __init__(self, peer_id: bytes = b"p" * 32) -> None:
        self.peer_id, self.sent = peer_id, 0

    def send(self, message: wire.Message) -> None:
        self.sent += 1


def circle(heard: list[bytes]) -> Circle:
    return Circle(
        TABLE, Random(1), heard=lambda _, data: heard.append(data), changed=lambda *_: None, wanted_peers=8
    )


def joined(meeting: Circle, link: FakeLink) -> PeerLink:
    meeting.peer_joined(cast(PeerLink, link), 7, near=False)
    return cast(PeerLink, link)


async def test_a_flood_is_dropped_and_not_kept() -> None:
    heard: list[bytes] = []
    meeting = circle(heard)
    link = joined(meeting, FakeLink())
    now = time.monotonic()
    for _ in range(10 * MESSAGE_BURST):
        meeting.received(link, wire.AppMessage(7, b"x"), now)
    assert len(heard) == MESSAGE_BURST
    assert meeting.dropped == 9 * MESSAGE_BURST
    meeting.received(link, wire.AppMessage(7, b"later"), now + 1)
    assert heard[-1] == b"later"
    with pytest.raises(ProtocolViolation):
        meeting.received(link, wire.HaveAll(7, bytes(32)), now)


async def test_large_messages_are_bounded_in_bytes_too() -> None:
    heard: list[bytes] = []
    meeting = circle(heard)
    link = joined(meeting, FakeLink())
    for _ in range(MESSAGE_BURST):
        meeting.received(link, wire.AppMessage(7, bytes(16384)), time.monotonic())
    assert sum(map(len, heard)) <= 3 << 20


async def test_nothing_is_queued_for_who_does_not_read() -> None:
    meeting = circle([])
    slow, quick = FakeLink(b"s" * 32), FakeLink(b"q" * 32)
    slow.queued_bytes = 1 << 20
    joined(meeting, slow)
    joined(meeting, quick)
    assert meeting.send(b"x") == 1
    assert (slow.sent, quick.sent, meeting.dropped) == (0, 1, 1)


async def test_no_more_is_sent_than_the_uplink_of_a_circle() -> None:
    meeting = circle([])
    for number in range(MAX_MEMBERS):
        joined(meeting, FakeLink(number.to_bytes(32)))
    said = sum(meeting.send(bytes(16384)) for _ in range(50))
    assert said * 16384 <= SENT_BYTE_BURST + (1 << 20)
    assert meeting.dropped == 50 * MAX_MEMBERS - said


async def test_an_app_that_joins_and_leaves_all_the_time_costs_its_machine_no_link(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        one, two = await a.swarm.join(FakeApp()), await b.swarm.join(FakeApp())
        two.add_peer(a.address)
        await two.wait_for_peer(5)
        await one.wait_for_peer(5)
        met = Ears(b.swarm)
        for number in range(2 * MAX_UNMATCHED):
            a.swarm.go(Ears(a.swarm, circle_topic(APP, f"table {number}")).circle)
            if number < 2 * JOIN_BURST:
                a.swarm.go(Ears(a.swarm).circle)
            if number % 64 == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        assert one.peers
        assert two.peers
        assert not met.here


async def test_who_came_and_went_too_often_is_met_again_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_proofs, "OFFERS_PER_S", 0.5)
    monkeypatch.setattr(topic_proofs, "JOINS_PER_S", 1.0)
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        one, two = await a.swarm.join(FakeApp()), await b.swarm.join(FakeApp())
        two.add_peer(a.address)
        await one.wait_for_peer(5)
        met = Ears(b.swarm)
        for _ in range(2 * JOIN_BURST):
            a.swarm.go(Ears(a.swarm).circle)
        again = Ears(a.swarm)
        (link,) = a.peers.links
        await until(lambda: again.here and met.here)
        assert a.peers.links == [link], "by the same link"


async def test_a_peer_that_joins_and_leaves_all_the_time_is_cut_off() -> None:
    topics = LinkTopics(b"h" * 32, initiator=True)
    topics.offer([TABLE], NOW)
    proof = join_proof(TABLE, b"h" * 32, by_initiator=False)
    channel = channel_of(TABLE, b"h" * 32)
    for _ in range(JOIN_BURST):
        topics.proofs([proof], NOW)
        topics.left(channel)
    with pytest.raises(LimitExceeded):
        topics.proofs([proof], NOW)


def test_who_left_before_the_peers_proof_came_says_so_and_is_met_again_later() -> None:
    one, two = (LinkTopics(b"h" * 32, initiator=side) for side in (True, False))
    proofs, _ = one.offer([TABLE], NOW)
    theirs, _ = two.offer([TABLE], NOW)
    assert one.withdraw(TABLE) is None
    [met] = two.proofs(proofs, NOW)
    assert not one.proofs(theirs, NOW)
    assert one.farewells() == [met.channel]
    assert not one.farewells()
    assert two.left(met.channel) == TABLE
    again, [joined] = one.offer([TABLE], NOW)
    assert two.proofs(again, NOW) == [joined]


async def test_a_circle_has_no_more_members_than_its_bound() -> None:
    meeting = circle([])
    for number in range(MAX_MEMBERS + 10):
        joined(meeting, FakeLink(number.to_bytes(32)))
    assert len(meeting.names) == MAX_MEMBERS


def test_topics_differ_by_app_circle_and_network_and_names_of_members_by_circle() -> None:
    apps = [topic_of(b"a" * 32), topic_of(b"b" * 32), topic_of(b"a" * 32, b"k" * 32)]
    topics = {circle_topic(app, name) for app in apps for name in ("one", "two", "one\0", "on")}
    assert len(topics) == 12
    assert not topics & set(apps)
    assert len({member_name(topic, b"p" * 32) for topic in topics}) == 12


def test_topics_names_and_messages_are_those_of_the_documentation() -> None:
    topic = circle_topic(topic_of(b"\x01" * 32), "table")
    documented = (Path(__file__).parents[3] / "docs/protocol/peer.md").read_text()
    assert topic.hex() == "5a3aa00ca1a2d94e8a2934af071184f7e399aae1e7ba9507e9408d9fc7716bad"
    assert member_name(topic, b"\x02" * 32) == "47042c78488eb4824159e0f95774e4a1"
    message = wire.encode(wire.AppMessage(0x9EA34E47, b"hi")).hex()
    for text in (topic.hex(), member_name(topic, b"\x02" * 32), message):
        assert text in documented


class Board:
    """A finder on which peers of a topic leave their addresses."""

    def __init__(self) -> None:
        self.left: dict[bytes, set[tuple[str, int]]] = {}

    async def find(self, topic: bytes) -> AsyncIterator[tuple[str, int]]:
        for address in self.left.get(topic, set()):
            yield address

    async def announce(self, topic: bytes, port: int) -> int:
        self.left.setdefault(topic, set()).add(("127.0.0.1", port))
        return 1


async def test_members_without_any_link_find_each_other_by_the_circles_own_topic(tmp_path: Path) -> None:
    board = Board()
    async with (
        running_peer(tmp_path / "a", finders=(board,)) as a,
        running_peer(tmp_path / "b", finders=(board,)) as b,
    ):
        one = Ears(a.swarm)
        await until(lambda: board.left)
        two = Ears(b.swarm)
        await until(lambda: one.here and two.here)
        assert set(board.left) == {TABLE}


@pytest.mark.parametrize("name", ["", "x" * 65, "ä" * 33, "\ud800"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UserError):
        circle_topic(APP, name)
