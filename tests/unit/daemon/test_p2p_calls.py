"""What an app can do with circles through its channel, and what it cannot: the daemon's side of `sdk.p2p`."""

from __future__ import annotations

import asyncio
import contextlib
import random
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from pearrt import sdk
from pearrt.app.apps import Apps
from pearrt.daemon.app_calls import AppCalls
from pearrt.daemon.channel import Channels
from pearrt.daemon.circles import MAX_CIRCLES_OF_APP, Circles
from pearrt.daemon.live import Live
from pearrt.errors import Denied, LimitExceeded, UserError
from pearrt.link import topic_of
from pearrt.peer.messages import MAX_APP_MESSAGE_BYTES
from pearrt.sdk import aio
from pearrt.swarm.circle import Circle, circle_topic
from pearrt.swarm.dialer import Origin
from tests.support.beside import Beside, running
from tests.support.swarm_apps import running_peer

A, B = b"a" * 32, b"b" * 32
JOIN = {"p2p": ["join"]}


class Swarm:
    """Keeps circles that nobody else is in."""

    def __init__(self) -> None:
        self.open: dict[bytes, Circle] = {}

    def enter(
        self, topic: bytes, *, heard: Callable[[str, bytes], None], changed: Callable[[str, bool], None]
    ) -> Circle:
        assert topic not in self.open
        made = Circle(topic, random.Random(1), heard=heard, changed=changed, wanted_peers=8)
        self.open[topic] = made
        return made

    def go(self, circle: Circle) -> None:
        del self.open[circle.topic]


@pytest.fixture
def swarm() -> Swarm:
    return Swarm()


@pytest.fixture
async def beside(tmp_path: Path, swarm: Swarm) -> AsyncIterator[Beside]:
    with contextlib.ExitStack() as stack:
        runtime = Path(stack.enter_context(_short_folder()))
        async with running(tmp_path / "apps", runtime, circles=Circles(swarm, topic_of)) as made:
            yield made


def _short_folder() -> Any:
    import tempfile

    return tempfile.TemporaryDirectory(prefix="pearrt-")


async def test_without_the_grant_nothing_is_joined_sent_or_seen(beside: Beside, swarm: Swarm) -> None:
    for number, permissions in enumerate(({}, {"p2p": ["store"]})):
        start = beside.known.add(bytes([number]) * 32, permissions)
        async with beside.end(start) as app:
            for method in ("p2p.join", "p2p.send", "p2p.peers"):
                with pytest.raises(Denied):
                    await app.call(method, circle="table", data="")
            await app.call("p2p.leave", circle="table")
    assert not swarm.open


async def test_an_app_reaches_only_circles_that_it_joined_itself_and_only_its_own(
    beside: Beside, swarm: Swarm
) -> None:
    one, other = beside.known.add(A, JOIN), beside.known.add(B, JOIN)
    async with beside.end(one) as app, beside.end(other) as stranger:
        assert await app.call("p2p.join", circle="table") == {"peers": []}
        for method in ("p2p.send", "p2p.peers"):
            with pytest.raises(UserError, match="not joined"):
                await stranger.call(method, circle="table", data="")
        await stranger.call("p2p.leave", circle="table")
        await stranger.call("p2p.join", circle="table", app_key=A.hex(), topic="00" * 32)
        assert set(swarm.open) == {circle_topic(topic_of(key), "table") for key in (A, B)}


async def test_what_is_too_long_too_many_or_no_data_is_refused(beside: Beside, swarm: Swarm) -> None:
    start = beside.known.add(A, JOIN)
    async with beside.end(start) as app:
        for number in range(MAX_CIRCLES_OF_APP):
            await app.call("p2p.join", circle=f"table {number}")
            await app.call("p2p.join", circle=f"table {number}")
        with pytest.raises(LimitExceeded):
            await app.call("p2p.join", circle="one more")
        for name in ("", "ä" * 33):
            with pytest.raises(UserError):
                await app.call("p2p.join", circle=name)
        with pytest.raises(LimitExceeded):
            await app.call("p2p.join", circle="x" * 65)
        for data in ("not base64!", "ab\ncd", "ä", 5, None):
            with pytest.raises(UserError):
                await app.call("p2p.send", circle="table 0", data=data)
        most = b64encode(bytes(MAX_APP_MESSAGE_BYTES)).decode()
        assert await app.call("p2p.send", circle="table 0", data=most) == {"sent": 0}
        with pytest.raises(LimitExceeded):
            await app.call(
                "p2p.send", circle="table 0", data=b64encode(bytes(MAX_APP_MESSAGE_BYTES + 1)).decode()
            )


async def test_a_circle_is_left_with_the_last_instance_or_when_it_is_revoked(
    beside: Beside, swarm: Swarm
) -> None:
    start = beside.known.add(A, JOIN)
    async with beside.end(start) as one:
        await one.call("p2p.join", circle="table")
        async with beside.end(start) as two:
            await two.call("p2p.join", circle="table")
            await one.call("p2p.leave", circle="table")
            assert swarm.open
        while swarm.open:
            await asyncio.sleep(0)
        await one.call("p2p.join", circle="again")
        assert beside.live.revoke(A, ["p2p"]) == ["p2p"]
        assert not swarm.open
        assert (await one.read())["event"] == "permission-revoked"
        with pytest.raises(Denied):
            await one.call("p2p.send", circle="again", data="")


async def test_strange_fields_are_errors_of_the_caller_and_never_ours(
    beside: Beside, caplog: pytest.LogCaptureFixture
) -> None:
    strange: list[Any] = [None, True, -1, 2**70, 1.5, "", "x" * 9000, [], {}, [[1]], "\ud800", "\0"]
    start, draw = beside.known.add(A, {**JOIN, "files": True}), random.Random(5)
    async with beside.end(start) as app:
        for number in range(150):
            fields = {name: draw.choice(strange) for name in ("circle", "data", "peer", "mode", "name")}
            method = draw.choice(["p2p.leave", "p2p.peers", "p2p.send"])
            app.send({"id": number, "method": method, **fields})
            answer = await app.read()
            if "error" in answer:
                assert answer["error"]["code"] in ("user-error", "denied", "limit-exceeded"), answer
        modes: list[Any] = ["write", "../", None, 7, []]  # as many as its rate allows
        for mode in modes:
            with pytest.raises(UserError):
                await app.call("files.open", purpose="why", mode=mode)
    assert "our own bug" not in caplog.text


async def test_the_sdk_hears_who_comes_what_they_say_and_that_it_was_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _short_folder() as runtime:
        async with (
            running_peer(tmp_path / "a") as a,
            running_peer(tmp_path / "b") as b,
            running(tmp_path / "apps", Path(runtime), circles=Circles(a.swarm, topic_of)) as beside,
        ):
            start = beside.known.add(A, JOIN)
            said: list[bytes] = []
            far = b.swarm.enter(
                circle_topic(topic_of(A), "table"),
                heard=lambda _, data: said.append(data),
                changed=lambda *_: None,
            )
            far.add_peer(a.address, Origin.CONFIGURED)
            async with beside.sdk(start, monkeypatch):
                await _talk(beside, far, said)


async def _talk(beside: Beside, far: Circle, said: list[bytes]) -> None:
    near = await asyncio.to_thread(sdk.p2p.join, "table")
    async with await aio.p2p.join("table") as again, asyncio.timeout(10):
        come = await anext(again)
        assert isinstance(come, sdk.p2p.Presence)
        assert come.here
        assert await asyncio.to_thread(near.receive, 5) == come
        assert (await again.peers()) == await asyncio.to_thread(near.peers) == (come.peer,)
        assert await again.send(b"hello", come.peer) == 1
        assert await asyncio.to_thread(near.send, b"all") == 1
        while len(said) < 2:
            await asyncio.sleep(0.005)
        assert said == [b"hello", b"all"]
        far.send(b"\0\xff")
        assert await anext(again) == sdk.p2p.Message(come.peer, b"\0\xff")
        assert (await asyncio.to_thread(near.receive, 5)) == sdk.p2p.Message(come.peer, b"\0\xff")
        with pytest.raises(sdk.TooMuch):
            await again.send(bytes(MAX_APP_MESSAGE_BYTES + 1))
        beside.live.revoke(A, ["p2p"])
        with pytest.raises(sdk.Denied):
            await anext(again)
        with pytest.raises(sdk.Denied):
            await asyncio.to_thread(near.receive, 5)


async def test_the_daemon_that_follows_joins_the_circles_again(beside: Beside, swarm: Swarm) -> None:
    start = beside.known.add(A, JOIN)
    async with beside.end(start) as app:
        await app.call("p2p.join", circle="table")
        items = await beside.channels.pass_on()
        later = Swarm()
        circles = Circles(later, topic_of)
        live = Live(cast(Apps, beside.known))
        live.circles = circles
        calls = AppCalls(cast(Apps, beside.known), circles=circles)
        path = beside.channels.socket
        async with Channels(
            path, answer=calls.answer, changed=lambda: None, observer=live, inherited=items
        ) as channels:
            live.channels = channels
            assert await app.call("p2p.send", circle="table", data="") == {"sent": 0}
            assert set(later.open) == set(swarm.open)
