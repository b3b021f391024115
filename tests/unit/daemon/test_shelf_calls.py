"""What an app can do with its shelf through its channel, and what it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pearrt import sdk
from pearrt.crypto.hashes import sha256
from pearrt.daemon.shelves import Shelves
from pearrt.errors import Denied, LimitExceeded, PeerTimeout, UserError
from pearrt.link import topic_of
from pearrt.sdk import aio
from pearrt.swarm.dialer import Origin
from pearrt.swarm.service import SwarmService
from pearrt.swarm.shelf import MAX_SHELF_BLOCK_BYTES, Read, Shelf, shelf_topic
from tests.support.beside import Beside, KnownApps, running
from tests.support.swarm_apps import running_peer

A, B = b"a" * 32, b"b" * 32
STORE = {"p2p": ["store"], "storage": "1 MiB"}


class Swarm:
    """Keeps shelves that nobody else is in."""

    def __init__(self) -> None:
        self.open: dict[bytes, Shelf] = {}

    def open_shelf(self, topic: bytes, read: Read) -> Shelf:
        assert topic not in self.open
        made = Shelf(topic, random.Random(1), read=read, owed=lambda _: {}, wanted_peers=8)  # type: ignore[arg-type, return-value]
        self.open[topic] = made
        return made

    def go(self, left: Shelf) -> None:
        del self.open[left.topic]
        left.close()


def over(swarm: Swarm | SwarmService, known: KnownApps) -> Shelves:
    return Shelves(swarm, topic_of, lambda app_key: known.known(app_key).folder.shelf)


@pytest.fixture
def swarm() -> Swarm:
    return Swarm()


@pytest.fixture
async def beside(tmp_path: Path, swarm: Swarm) -> AsyncIterator[Beside]:
    with tempfile.TemporaryDirectory(prefix="pearrt-") as runtime:
        async with running(
            tmp_path / "apps", Path(runtime), shelves=lambda known: over(swarm, known)
        ) as made:
            yield made


def text(data: bytes) -> str:
    return b64encode(data).decode()


async def test_without_the_grant_nothing_is_kept_or_given(beside: Beside, swarm: Swarm) -> None:
    for number, permissions in enumerate(({}, {"p2p": ["join"]})):
        start = beside.known.add(bytes([number]) * 32, permissions)
        async with beside.end(start) as app:
            for method in ("shelf.put", "shelf.get", "shelf.drop", "shelf.list", "shelf.usage"):
                with pytest.raises(Denied):
                    await app.call(method, block="00" * 32, data=text(b"x"))
    assert not swarm.open


async def test_an_app_has_its_own_shelf_and_learns_nothing_of_another(beside: Beside, swarm: Swarm) -> None:
    one, other = beside.known.add(A, STORE), beside.known.add(B, STORE)
    async with beside.end(one) as app, beside.end(other) as stranger:
        kept = (await app.call("shelf.put", data=text(b"mine")))["block"]
        assert kept == sha256(b"mine").hex()
        assert b64decode((await app.call("shelf.get", block=kept, timeout=0))["data"]) == b"mine"
        with pytest.raises(PeerTimeout):
            await stranger.call("shelf.get", block=kept, timeout=0)
        assert await stranger.call("shelf.drop", block=kept) == {"dropped": False}
        assert set(swarm.open) == {shelf_topic(topic_of(A)), shelf_topic(topic_of(B))}
        assert await app.call("shelf.usage") == {"blocks": 1, "bytes": 4096, "limit": 1 << 20}
        assert await app.call("shelf.drop", block=kept) == {"dropped": True}


async def test_what_is_wrong_or_too_much_is_refused(beside: Beside) -> None:
    start = beside.known.add(A, STORE)
    async with beside.end(start) as app:
        wrong: list[dict[str, object]] = [
            {"block": "zz" * 32}, {"block": "00"}, {"block": 7}, {"block": "00" * 32, "timeout": -1},
            {"block": "00" * 32, "timeout": "1"}, {"block": "00" * 32, "timeout": 1e9},
            {"block": "00" * 32, "keep": 1},
        ]  # fmt: skip
        for fields in wrong:
            with pytest.raises(UserError):
                await app.call("shelf.get", **fields)
        for data in ("", "*", 7):
            with pytest.raises(UserError):
                await app.call("shelf.put", data=data)
        with pytest.raises(LimitExceeded):
            await app.call("shelf.put", data=text(bytes(MAX_SHELF_BLOCK_BYTES + 1)))
        for number in range(32):
            await app.call("shelf.put", data=text(bytes([number]) * MAX_SHELF_BLOCK_BYTES))
        with pytest.raises(LimitExceeded, match="full"):
            await app.call("shelf.put", data=text(b"one more"))


async def test_taking_the_permission_back_closes_the_shelf_and_what_waits_is_denied(
    beside: Beside, swarm: Swarm
) -> None:
    start = beside.known.add(A, STORE)
    async with beside.end(start) as app:
        kept = (await app.call("shelf.put", data=text(b"mine")))["block"]
        app.send({"id": 8, "method": "shelf.get", "block": "00" * 32})
        [shelf] = swarm.open.values()
        async with asyncio.timeout(5):
            while not shelf._wanted:
                await asyncio.sleep(0.005)
        beside.live.revoke(A, ["p2p"])
        assert not swarm.open
        assert (await app.read())["event"] == "permission-revoked"
        assert (await app.read())["error"]["code"] == "denied"
        with pytest.raises(Denied):
            await app.call("shelf.get", block=kept, timeout=0)


async def test_only_if_it_is_here_asks_nobody_else(tmp_path: Path) -> None:
    async with two_machines(tmp_path) as (one, two, shelf):
        assert two.live.shelves is not None
        two.live.shelves._opened(A)
        async with asyncio.timeout(5):
            while not shelf.members:
                await asyncio.sleep(0.005)
        async with one.end(one.known.add(A, STORE)) as app:
            with pytest.raises(PeerTimeout, match="not here"):
                await app.call("shelf.get", block="00" * 32, timeout=0)
        assert not any(member.owed for member in shelf.members.values())


async def test_a_shelf_stays_open_after_its_app_as_long_as_something_is_on_it(
    beside: Beside, swarm: Swarm
) -> None:
    start = beside.known.add(A, STORE)
    async with beside.end(start) as app:
        kept = (await app.call("shelf.put", data=text(b"mine")))["block"]
    await _gone(beside)
    assert swarm.open
    async with beside.end(start) as app:
        await app.call("shelf.drop", block=kept)
    await _gone(beside)
    assert not swarm.open


async def test_the_daemon_that_starts_serves_what_was_kept(beside: Beside, tmp_path: Path) -> None:
    for app_key in (A, B):
        beside.known.add(app_key, STORE)
    assert beside.live.shelves is not None
    kept = await beside.live.shelves.put(A, b"mine", 1 << 20)
    later = Swarm()
    await over(later, beside.known).start(beside.known.known(app_key).folder for app_key in (A, B))
    [shelf] = later.open.values()
    assert shelf.topic == shelf_topic(topic_of(A))
    assert await shelf._read(kept) == b"mine"


async def _gone(beside: Beside) -> None:
    async with asyncio.timeout(5):
        while list(beside.channels.of(A)):
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def two_machines(tmp_path: Path) -> AsyncIterator[tuple[Beside, Beside, Shelf]]:
    with tempfile.TemporaryDirectory(prefix="pearrt-") as short:
        async with (
            running_peer(tmp_path / "a") as a,
            running_peer(tmp_path / "b") as b,
            running(tmp_path / "one", _folder(short, "1"), shelves=lambda known: over(a.swarm, known)) as one,
            running(tmp_path / "two", _folder(short, "2"), shelves=lambda known: over(b.swarm, known)) as two,
        ):
            for each in (one, two):
                each.known.add(A, STORE)
                assert each.live.shelves is not None
            shelf = one.live.shelves._opened(A)
            shelf.add_peer(b.address, Origin.CONFIGURED)
            yield one, two, shelf


def _folder(short: str, name: str) -> Path:
    made = Path(short) / name
    made.mkdir()
    return made


async def test_the_sdk_puts_here_and_gets_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_machines(tmp_path) as (one, two, _):
        small, large = b"", random.Random(1).randbytes(300_000)
        async with one.sdk(one.known.add(A, STORE), monkeypatch):
            names = [await asyncio.to_thread(sdk.shelf.put, small), await aio.shelf.put(large)]
            assert await aio.shelf.put(small) not in names  # salted: nobody can guess it
            assert await asyncio.to_thread(sdk.shelf.get, names[1]) == large
        async with two.sdk(two.known.add(A, STORE), monkeypatch):
            assert await aio.shelf.get(names[0], timeout_s=5) == small
            assert await asyncio.to_thread(lambda: sdk.shelf.get(names[1], timeout_s=5)) == large
            assert (await aio.shelf.usage()).blocks == 0
            assert await aio.shelf.get(names[1], timeout_s=5, keep=True) == large
            assert (await asyncio.to_thread(sdk.shelf.usage)).blocks == 11
        async with one.sdk(one.known.add(A, STORE), monkeypatch):
            assert await asyncio.to_thread(sdk.shelf.drop, names[1])
            assert not await aio.shelf.drop(names[1])
            assert (await aio.shelf.usage()).blocks == 2
            assert await aio.shelf.get(names[1], timeout_s=5) == large  # from the other machine now


async def test_what_lost_its_name_goes_and_what_has_one_stays(
    beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    thing = random.Random(1).randbytes(100_000)
    async with beside.sdk(beside.known.add(A, STORE), monkeypatch):
        for keep_only in (aio.shelf.keep_only, lambda names: asyncio.to_thread(sdk.shelf.keep_only, names)):
            small, large = await aio.shelf.put(b"small"), await aio.shelf.put(thing)
            lost = await aio.shelf.put(random.Random(2).randbytes(700_000))
            await aio._call("shelf.drop", block=lost)
            assert await keep_only([small, large, "00" * 32]) == 22
            assert (await aio.shelf.usage()).blocks == 6
            assert await aio.shelf.get(large, timeout_s=0) == thing
            assert await keep_only([small]) == 5
            assert await aio.shelf.get(small, timeout_s=0) == b"small"
            assert await keep_only([]) == 1


async def test_what_does_not_fit_leaves_nothing_behind(
    beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with beside.sdk(beside.known.add(A, STORE), monkeypatch):
        for put in (aio.shelf.put, lambda data: asyncio.to_thread(sdk.shelf.put, data)):
            with pytest.raises(sdk.TooMuch, match="full"):
                await put(random.Random(1).randbytes(2 << 20))
            assert (await aio.shelf.usage()).blocks == 0
        with pytest.raises(sdk.TooMuch):
            await aio.shelf.put(bytes(sdk.shelf.MAX_DATA_BYTES + 1))


@pytest.mark.parametrize(
    "block", [b"", b"\2" + bytes(40), b"\1" + bytes(16), b"\1" + bytes(17), b"\1" + bytes(16 + 31)]
)
def test_a_block_that_the_sdk_did_not_make_is_told_as_such(block: bytes) -> None:
    with pytest.raises(sdk.Error) as refused:
        sdk.shelf.opened({"data": text(block)})
    assert refused.value.code == "corrupt"
    with pytest.raises(sdk.Error):
        sdk.shelf.part({"data": text(b"\1" + bytes(16 + 32))})
