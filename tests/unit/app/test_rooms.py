"""Release rooms on real daemons, with a DHT of one node: what is served, posted, gathered and given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
import pytest_asyncio

from pearrt.app import pins
from pearrt.app.rooms import LOOKUPS_AT_ONCE, ROUND_EVERY_S, Rooms, named_signers, posted_item
from pearrt.crypto.hashes import sha256
from pearrt.dht.items import MutableItem, sign_item
from pearrt.dht.service import PutResult
from pearrt.errors import Full, NoPeers, Unreachable, UserError
from pearrt.paths import Home
from pearrt.publish.desk import Desk
from pearrt.publish.release import Variant, make_releases
from pearrt.publish.request import Request
from pearrt.publish.room import Room, post, seal
from pearrt.publish.signers import SeedKey, answer
from tests.support.app_here import Here, Team, running_apps

SEQ = 1_900_000_000
SECRET = b"0123456789abcdef"


class Items:
    """Stands in for the DHT. `full`: nobody takes anything."""

    def __init__(self) -> None:
        self.items: dict[bytes, MutableItem] = {}
        self.puts: list[MutableItem] = []
        self.forgotten: list[bytes] = []
        self.full = False
        self.asking = self.most_asking = 0

    async def put_item(self, item: MutableItem) -> PutResult:
        self.puts.append(item)
        if self.full:
            return PutResult(item.target, 0)
        self.items[item.target] = item
        return PutResult(item.target, 1, item.seq)

    async def get_mutable(self, public: bytes, *, salt: bytes = b"") -> MutableItem | None:
        self.asking += 1
        self.most_asking = max(self.most_asking, self.asking)
        await asyncio.sleep(0)
        self.asking -= 1
        found = [item for item in self.items.values() if (item.public_key, item.salt) == (public, salt)]
        return found[0] if found else None

    def forget(self, public: bytes, *, salt: bytes = b"") -> None:
        self.forgotten.append(public)


class Asked:
    """A publisher whose release is asked for in a room, and what belongs to it."""

    def __init__(self, team: Team, here: Here) -> None:
        self.team, self.here, self.dht = team, here, Items()
        here.apps.dht = self.dht  # type: ignore[assignment]
        self.desk = Desk.of(team.home.ceremonies, team.link.app_key)
        self.request = self.draft("2.0")
        self.room = Room.of(self.request, SECRET)
        self.link = replace(team.link, fragment=self.room.fragment)

    def draft(self, version: str) -> Request:
        digest = sha256(version.encode())
        variant = Variant("any", digest, 100, (digest,))
        draft = make_releases(
            self.team.publication.trusted, [variant], name="thing", version=version, now=time.time()
        )
        return Request.of(self.team.publication.trusted, draft)

    async def open(self) -> None:
        self.desk.keep(self.request)
        self.desk.join_room(self.request, str(self.link), ours=True)
        await self.here.apps.offer(self.link, rooms_only=True)

    def item(self, signer: int) -> MutableItem:
        key = SeedKey(self.team.seeds[signer])
        return post(self.room, answer(self.request, key), key, SEQ)

    async def round(self, rooms: Rooms | None = None) -> None:
        await (rooms or self.here.apps.rooms)._round()


@pytest_asyncio.fixture
async def asked(new_home: Callable[[], Home]) -> AsyncIterator[Asked]:
    home = new_home()
    team = Team(home, signers=3, threshold=2)
    async with running_apps(home) as here:
        await team.release(here)
        made = Asked(team, here)
        await made.open()
        yield made


# -- requests


async def test_a_room_is_entered_by_its_link_and_served_on(
    asked: Asked, new_home: Callable[[], Home]
) -> None:
    home = new_home()
    async with running_apps(home) as signer:
        await signer.apps.follow(asked.link)
        signer.knows(asked.here, asked.link)
        block = await signer.apps.rooms.enter(asked.link)
        app = signer.apps.followed[asked.link.app_key]
        assert block == seal(asked.request, SECRET)
        assert asked.room.unseal(block, app.trusted).digest == asked.request.digest
        assert not app.members.serves(asked.room.block)
        desk = Desk.of(home.ceremonies, asked.link.app_key)
        desk.keep(asked.request)
        desk.join_room(asked.request, str(asked.link), ours=False)
        assert await signer.apps.offer(asked.link, rooms_only=True) == []
        assert app.members.serves(asked.room.block)
        await signer.apps.gc(fsck=False, dry_run=False)
        assert signer.apps.store.has(asked.room.block)


async def test_a_request_outside_of_a_room_is_served_to_nobody(asked: Asked) -> None:
    other = asked.draft("3.0")
    asked.desk.keep(other)
    await asked.here.apps.offer(asked.link)
    serves = asked.here.apps.followed[asked.link.app_key].members.serves
    assert serves(asked.room.block)
    assert not serves(Room.of(other, SECRET).block)


async def test_a_damaged_note_of_a_room_stops_nothing(asked: Asked) -> None:
    (note,) = asked.desk.folder.glob("*.room")
    for damaged in (b"", b"{}", b"[]", b'{"link": "pearrt://x", "ours": true}', b"\xff" * 9000):
        note.write_bytes(damaged)
        assert asked.desk.rooms() == []
        await asked.here.apps.offer(asked.link)
    assert not asked.here.apps.followed[asked.link.app_key].members.serves(asked.room.block)


async def test_a_full_disk_closes_the_room_and_nothing_else(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Full("No space left.")

    apps = asked.here.apps
    await apps.uninstall(asked.link.app_key, keep_data=True)
    monkeypatch.setattr(apps.store, "put", full)
    app = await apps.follow(asked.link)
    assert not app.members.serves(asked.room.block)


async def test_an_app_that_is_uninstalled_leaves_nothing_for_gc_to_keep(asked: Asked) -> None:
    apps, key = asked.here.apps, asked.link.app_key
    apps.store.pin(pins.of_reviews(key) + "0" * 64, [asked.room.block])
    assert pins.pinned(apps.store, pins.of_rooms(key)) == [asked.room.block.hex()]
    await apps.uninstall(key, keep_data=False)
    assert not [name for name in apps.store.pins() if asked.link.key_text in name]


async def test_a_room_that_nobody_has_is_said_to_be_empty(
    asked: Asked, new_home: Callable[[], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pearrt.swarm.membership.ALONE_PATIENCE_S", 0.01)
    async with running_apps(new_home()) as signer:
        with pytest.raises(NoPeers, match="Nobody was found who has the request"):
            await signer.apps.rooms.enter(asked.link)


async def test_a_room_of_an_app_that_does_not_exist_yet_is_open_again_after_a_restart(
    new_home: Callable[[], Home], asked: Asked
) -> None:
    home = new_home()
    desk = Desk.of(home.ceremonies, asked.link.app_key)
    desk.keep(asked.request)
    desk.join_room(asked.request, str(asked.link), ours=True)
    async with running_apps(home) as here:
        assert here.apps.followed[asked.link.app_key].members.serves(asked.room.block)


# -- answers


async def test_what_was_posted_is_posted_again_by_the_next_daemon_once(asked: Asked) -> None:
    asked.desk.keep_post(asked.request, asked.item(0))
    rooms = Rooms(asked.here.apps)
    await asked.round(rooms)
    await asked.round(rooms)
    assert asked.dht.puts == [asked.item(0)]


async def test_answers_come_to_the_desk_while_nobody_looks(asked: Asked) -> None:
    await asked.dht.put_item(asked.item(1))
    garbage = sign_item(asked.team.seeds[2], b"garbage", salt=asked.room.salt, seq=SEQ)
    await asked.dht.put_item(garbage)
    await asked.round()
    held = asked.desk.find(asked.request.digest)
    assert held is not None
    assert [each.public for each in held.answers] == [SeedKey(asked.team.seeds[1]).public]


async def test_only_who_opened_the_room_looks_for_answers(asked: Asked) -> None:
    asked.desk.join_room(asked.request, str(asked.link), ours=False)
    await asked.dht.put_item(asked.item(1))
    await asked.round()
    assert asked.dht.most_asking == 0


async def test_a_room_whose_time_is_over_is_left(asked: Asked) -> None:
    asked.desk.keep_post(asked.request, asked.item(0))
    await asked.team.release(asked.here, "1.1")  # another release went out instead
    await asked.round()
    assert asked.desk.rooms() == []
    assert asked.desk.posts(asked.request) == []
    assert asked.dht.forgotten == [asked.item(0).public_key]
    assert not asked.here.apps.followed[asked.link.app_key].members.serves(asked.room.block)
    assert asked.desk.knows(asked.request)  # `release status` says what became of it


async def test_a_round_comes_every_quarter_of_an_hour(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms, rounds = asked.here.apps.rooms, []

    async def once() -> None:
        rounds.append(1)
        rooms._next_round, rooms._in_round = time.monotonic() + ROUND_EVERY_S, False

    monkeypatch.setattr(rooms, "_round", once)
    for _ in range(3):
        rooms.beat()
        await asyncio.sleep(0)
    assert len(rounds) == 1
    rooms._next_round = 0.0
    rooms.beat()
    await asyncio.sleep(0)
    assert len(rounds) == 2


async def test_an_answer_that_no_node_takes_is_an_error_and_tried_again(asked: Asked) -> None:
    asked.dht.full = True
    asked.desk.keep_post(asked.request, asked.item(0))
    with pytest.raises(Unreachable):
        await asked.here.apps.rooms.post(asked.item(0))
    asked.dht.full = False
    await asked.round()
    assert list(asked.dht.items.values()) == [asked.item(0)]


async def test_without_a_dht_it_says_so(asked: Asked) -> None:
    asked.here.apps.dht = None
    rooms = asked.here.apps.rooms
    for work in (rooms.post(asked.item(0)), rooms.look(asked.room, [bytes(32)])):
        with pytest.raises(UserError, match="DHT is off"):
            await work
    rooms.beat()  # and nothing comes of it
    assert not rooms._in_round


async def test_a_few_signers_are_looked_up_at_once_and_each_once(asked: Asked) -> None:
    keys = [bytes([number]) * 32 for number in range(40)]
    assert await asked.here.apps.rooms.look(asked.room, keys + keys) == []
    assert asked.dht.most_asking == LOOKUPS_AT_ONCE


# -- what the local API is asked


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"key": "00", "value": "zz", "signature": "", "seq": 1},
        {"key": "00", "value": "", "signature": "", "seq": "later"},
        {"key": None, "value": "", "signature": "", "seq": 1},
    ],
)
def test_a_post_without_its_parts_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(UserError):
        posted_item(Room(bytes(32), bytes(32), SECRET, bytes(32)), fields)


@pytest.mark.parametrize(
    "signers", [None, "00", [1], ["zz"], ["00" * 31], ["00" * 32] * 65, [["00"]]], ids=repr
)
def test_signers_that_are_no_keys_or_too_many_are_refused(signers: object) -> None:
    with pytest.raises(UserError):
        named_signers({"signers": signers})
