"""The SDK's connection: what waits is told when the daemon goes, and who comes after that too."""

from __future__ import annotations

import asyncio
import socket

import pytest

from pearrt.sdk import aio, app
from pearrt.sdk import channel as channels
from pearrt.sdk.channel import Channel
from pearrt.sdk.errors import NotConnected


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Channel:
    """The process's channel, whose daemon has gone."""
    ours, theirs = socket.socketpair()
    theirs.close()
    made = Channel(ours)
    made.close()
    monkeypatch.setattr(channels, "_channel", made)
    return made


@pytest.mark.usefixtures("ended")
def test_who_begins_to_listen_when_the_daemon_has_gone_is_told_so() -> None:
    with pytest.raises(NotConnected):
        next(app.events())


@pytest.mark.usefixtures("ended")
async def test_and_so_is_an_asyncio_app() -> None:
    async with asyncio.timeout(5):
        with pytest.raises(NotConnected):
            await anext(aio.app.events())
