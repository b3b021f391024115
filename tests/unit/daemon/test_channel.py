"""An app's channel: only who has the token, only as that app, only frames within bounds."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pearrt.app.start import Start
from pearrt.daemon import channel
from pearrt.daemon.attendant_token import attendant_token
from pearrt.daemon.channel import Channels
from pearrt.daemon.instance import Instance
from pearrt.errors import Denied, UserError
from pearrt.paths import Home
from pearrt.sdk.frames import MAX_FRAME_BYTES
from tests.support.channel_end import End

APP_A, APP_B = b"a" * 32, b"b" * 32


class Answers:
    """Stands in for AppCalls."""

    def __init__(self) -> None:
        self.held = asyncio.Event()
        self.under_way = 0

    async def __call__(
        self, instance: Instance, method: str, fields: dict[str, Any]
    ) -> tuple[Any, socket.socket | None]:
        if method == "app.info":
            return {"key": instance.app_key.hex()}, None
        if method == "echo":
            return fields, None
        if method == "hold":
            self.under_way += 1
            await self.held.wait()
            return {}, None
        if method == "pair":
            ours, theirs = socket.socketpair()
            ours.sendall(b"passed")
            ours.close()
            return {"socket": True}, theirs
        if method == "ask":
            return await instance.person().ask("question", timeout_s=5), None
        if method == "broken":
            raise RuntimeError("a bug of ours")
        raise UserError(f"There is no method {method!r}.")


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
async def channels(home: Home, answers: Answers) -> AsyncIterator[Channels]:
    async with Channels(home.runtime / "app.sock", answer=answers, changed=lambda: None) as made:
        yield made


async def test_a_token_opens_the_channel_of_its_app(channels: Channels) -> None:
    async with End.open(channels.socket, channels.issue(Start(APP_A))) as app:
        assert await app.call("app.info") == {"key": APP_A.hex()}
        assert channels.running(APP_A) == 1


async def test_app_a_cannot_ask_for_app_bs_data(channels: Channels) -> None:
    async with End.open(channels.socket, channels.issue(Start(APP_A))) as app:
        assert await app.call("app.info", app=APP_B.hex(), key=APP_B.hex()) == {"key": APP_A.hex()}


async def test_a_stranger_without_a_token_is_turned_away(channels: Channels) -> None:
    with pytest.raises(ConnectionError):
        async with End.open(channels.socket, b"x" * channel.TOKEN_BYTES):
            pass


async def test_a_token_serves_once(channels: Channels) -> None:
    token = channels.issue(Start(APP_A))
    async with End.open(channels.socket, token):
        with pytest.raises(ConnectionError):
            async with End.open(channels.socket, token):
                pass


async def test_a_token_expires(channels: Channels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "TOKEN_TTL_S", -1.0)
    with pytest.raises(ConnectionError):
        async with End.open(channels.socket, channels.issue(Start(APP_A))):
            pass


async def test_an_unknown_method_is_an_error_and_the_channel_lives(channels: Channels) -> None:
    async with End.open(channels.socket, channels.issue(Start(APP_A))) as app:
        with pytest.raises(UserError):
            await app.call("rm -rf")
        for method in (None, 1, ["app.info"], {"a": 1}):
            app.send({"id": 5, "method": method})
            assert (await app.read())["error"]["code"] == "user-error"
        assert "key" in await app.call("app.info")


@pytest.mark.parametrize("number", [None, True, 1.5, "n" * 65, [1], {"a": 1}, 10**400])
async def test_an_answer_never_repeats_a_strange_id(channels: Channels, number: Any) -> None:
    async with End.open(channels.socket, channels.issue(Start(APP_A))) as app:
        app.send({"id": number, "method": "app.info"})
        answer = await app.read()
        assert answer["id"] is None
        assert answer["result"]["key"] == APP_A.hex()


async def test_a_bug_of_ours_is_told_without_its_details(
    channels: Channels, caplog: pytest.LogCaptureFixture
) -> None:
    async with End.open(channels.socket, channels.issue(Start(APP_A))) as app:
        app.send({"id": 1, "method": "broken"})
        assert "a bug of ours" not in str(await app.read())
    assert "a bug of ours" in caplog.text


@pytest.mark.parametrize(
    "frame",
    [
        (MAX_FRAME_BYTES + 1).to_bytes(4), b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\1{", b"\0\0\0\0",
        b"\0\0\0\4null", b"\0\0\0\2\xff\xfe", len(b"[" * 60_000).to_bytes(4) + b"[" * 60_000,
        len(b"1" * 60_000).to_bytes(4) + b"1" * 60_000,
    ],
)  # fmt: skip
async def test_a_frame_over_the_limit_or_no_object_ends_the_channel(channels: Channels, frame: bytes) -> None:
    async with End.open(channels.socket, channels.issue(Start(APP_A))) as app:
        app.writer.write(frame)
        assert await app.reader.read(1) == b""
        assert channels.running(APP_A) == 0


async def test_an_answer_longer_than_a_frame_is_an_error_and_the_channel_lives(channels: Channels) -> None:
    async with End.open(channels.socket, channels.issue(Start(APP_A))) as app:
        app.send({"id": 1, "method": "echo", "x": "x" * 60_000})
        assert (await app.read())["result"]["x"]
        frame = b'{"id":2,"method":"echo","x":"' + "ü".encode() * 30_000 + b'"}'
        app.writer.write(len(frame).to_bytes(4) + frame)
        assert (await app.read())["error"]["code"] == "limit-exceeded"
        assert "key" in await app.call("app.info")


async def test_calls_are_answered_side_by_side_and_no_more_than_a_few_at_a_time(
    channels: Channels, answers: Answers
) -> None:
    async with End.open(channels.socket, channels.issue(Start(APP_A))) as app:
        for number in range(channel.MAX_OPEN_CALLS - 1):
            app.send({"id": number, "method": "hold"})
        assert "key" in await app.call("app.info")
        for number in range(100):
            app.send({"id": number, "method": "hold"})
        while answers.under_way < channel.MAX_OPEN_CALLS:
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert answers.under_way == channel.MAX_OPEN_CALLS
        answers.held.set()
        for _ in range(100 + channel.MAX_OPEN_CALLS - 1):
            assert (await app.read())["result"] == {}


async def test_an_app_that_never_reads_is_not_answered_for_ever(channels: Channels) -> None:
    async with End.open(channels.socket, channels.issue(Start(APP_A))) as app:
        app.reader._transport.pause_reading()  # type: ignore[attr-defined]
        frame = b'{"id":1,"method":"echo","x":"' + b"x" * 60_000 + b'"}'
        sent = 0
        try:
            async with asyncio.timeout(1):
                while True:
                    app.writer.write(len(frame).to_bytes(4) + frame)
                    await app.writer.drain()
                    sent += len(frame)
        except TimeoutError:
            pass
        assert sent < 8 << 20
        [instance] = channels.of(APP_A)
        assert instance.wire._queued_bytes < (1 << 20) + channel.MAX_OPEN_CALLS * MAX_FRAME_BYTES
        for _ in range(1000):
            instance.tell({"event": "noise"})
        assert len(instance.wire._queue) < 300
        assert instance.wire.dropped > 0
        app.writer.transport.abort()


async def test_events_reach_every_running_instance_of_that_app_only(channels: Channels) -> None:
    ends = [End(channels.socket, channels.issue(Start(key))) for key in (APP_A, APP_A, APP_B)]
    for end in ends:
        await end.__aenter__()
    channels.tell(APP_A, {"event": "update-ready", "version": "2"})
    for end in ends[:2]:
        assert await end.read() == {"event": "update-ready", "version": "2"}
    assert "key" in await ends[2].call("app.info")
    for end in ends:
        await end.__aexit__(None, None, None)


async def test_a_descriptor_arrives_with_its_answer_among_others(channels: Channels) -> None:
    token = channels.issue(Start(APP_A))

    def app() -> tuple[bytes, int]:
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(str(channels.socket))
            end.sendall(token)
            assert end.recv(1) == b"\x01"
            calls = [b'{"id":1,"method":"echo"}', b'{"id":2,"method":"pair"}', b'{"id":3,"method":"echo"}']
            end.sendall(b"".join(len(call).to_bytes(4) + call for call in calls))
            data, passed = b"", []
            while data.count(b'"id"') < 3 or not data.endswith(b"}"):
                part, fds, _, _ = socket.recv_fds(end, 4096, 4)
                data, passed = data + part, passed + fds
            with socket.socket(fileno=passed[0]) as given:
                return given.recv(16), len(passed)

    assert await asyncio.to_thread(app) == (b"passed", 1)


async def test_the_attendant_answers_what_the_person_is_asked(channels: Channels) -> None:
    token = channels.issue(Start(APP_A))
    async with End.open(channels.socket, token) as app:
        with pytest.raises(Denied):
            await app.call("ask")
        async with End.open(channels.socket, attendant_token(token)) as attendant:
            app.send({"id": 9, "method": "ask"})
            question = await attendant.read()
            assert question["method"] == "question"
            attendant.send({"id": 99, "result": "to nothing"})
            attendant.send({"id": question["id"], "result": "yes"})
            assert await app.read() == {"id": 9, "result": "yes"}
            app.send({"id": 10, "method": "ask"})
            await attendant.read()
        assert (await app.read())["error"]["code"] == "denied"
        with pytest.raises(ConnectionError):
            async with End.open(channels.socket, attendant_token(token)):
                pass


async def test_without_its_channel_nobody_attends(channels: Channels) -> None:
    token = channels.issue(Start(APP_A))
    with pytest.raises(ConnectionError):
        async with End.open(channels.socket, attendant_token(token)):
            pass
