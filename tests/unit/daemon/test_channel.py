"""An app's channel: only who has the token, only as that app, only frames within bounds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pearrt.daemon import channel
from pearrt.daemon.channel import MAX_FRAME_BYTES, Channels
from pearrt.paths import Home

APP_A, APP_B = b"a" * 32, b"b" * 32


@pytest.fixture
async def channels(home: Home) -> AsyncIterator[Channels]:
    made = Channels(
        Path(home.runtime / "app.sock"), about=lambda key: {"key": key.hex()}, changed=lambda: None
    )
    server = await made.serve()
    yield made
    server.close()
    made.close()
    await server.wait_closed()


class App:
    """The app's end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, channels: Channels, token: bytes) -> App:
        reader, writer = await asyncio.open_unix_connection(str(channels.socket))
        writer.write(token)
        return cls(reader, writer)

    async def call(self, **message: object) -> dict[str, object]:
        data = json.dumps(message).encode()
        self.writer.write(len(data).to_bytes(4) + data)
        return await self.read()

    async def read(self) -> dict[str, object]:
        length = int.from_bytes(await self.reader.readexactly(4))
        answer: dict[str, object] = json.loads(await self.reader.readexactly(length))
        return answer

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def test_a_token_opens_the_channel_of_its_app(channels: Channels) -> None:
    app = await App.open(channels, channels.issue(APP_A))
    assert await app.reader.readexactly(1) == b"\x01"
    assert await app.call(id=7, method="app.info") == {"id": 7, "result": {"key": APP_A.hex()}}
    assert channels.running(APP_A) == 1
    await app.close()


async def test_app_a_cannot_ask_for_app_bs_data(channels: Channels) -> None:
    app = await App.open(channels, channels.issue(APP_A))
    await app.reader.readexactly(1)
    answer = await app.call(id=1, method="app.info", app=APP_B.hex(), key=APP_B.hex())
    assert answer["result"] == {"key": APP_A.hex()}
    await app.close()


async def test_a_stranger_without_a_token_is_turned_away(channels: Channels) -> None:
    app = await App.open(channels, b"x" * channel.TOKEN_BYTES)
    assert await app.reader.read(1) == b""
    await app.close()


async def test_a_token_serves_once(channels: Channels) -> None:
    token = channels.issue(APP_A)
    first = await App.open(channels, token)
    assert await first.reader.readexactly(1) == b"\x01"
    second = await App.open(channels, token)
    assert await second.reader.read(1) == b""
    await first.close()
    await second.close()


async def test_a_token_expires(channels: Channels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "TOKEN_TTL_S", -1.0)
    app = await App.open(channels, channels.issue(APP_A))
    assert await app.reader.read(1) == b""
    await app.close()


async def test_an_unknown_method_is_an_error_and_the_channel_lives(channels: Channels) -> None:
    app = await App.open(channels, channels.issue(APP_A))
    await app.reader.readexactly(1)
    answer = await app.call(id=1, method="rm -rf")
    assert answer["error"]["code"] == "user-error"  # type: ignore[index]
    assert "result" in await app.call(id=2, method="app.info")
    await app.close()


@pytest.mark.parametrize(
    "frame", [(MAX_FRAME_BYTES + 1).to_bytes(4), b"\0\0\0\2[]", b"\0\0\0\1{", b"\xff\xff\xff\xff"]
)
async def test_a_frame_over_the_limit_or_no_object_ends_the_channel(channels: Channels, frame: bytes) -> None:
    app = await App.open(channels, channels.issue(APP_A))
    await app.reader.readexactly(1)
    app.writer.write(frame)
    assert await app.reader.read(1) == b""
    assert channels.running(APP_A) == 0
    await app.close()


async def test_events_reach_every_running_instance_of_that_app_only(channels: Channels) -> None:
    apps = [await App.open(channels, channels.issue(key)) for key in (APP_A, APP_A, APP_B)]
    for app in apps:
        await app.reader.readexactly(1)
    channels.tell(APP_A, {"event": "update-ready", "version": "2"})
    for app in apps[:2]:
        assert await app.read() == {"event": "update-ready", "version": "2"}
    assert (await apps[2].call(id=1, method="app.info"))["id"] == 1
    for app in apps:
        await app.close()
