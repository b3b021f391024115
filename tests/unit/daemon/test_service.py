"""The daemon starts whatever one app's files are like, and serves the others. It makes way for another
however much it is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pearrt.app import granting
from pearrt.app.library import AppFolder
from pearrt.app.record import Grant
from pearrt.daemon import api
from pearrt.daemon.caller import Daemon as Caller
from pearrt.daemon.service import Daemon
from pearrt.link import Link
from pearrt.paths import Home
from pearrt.settings import HostPort, Settings

KEY = bytes(range(32))
SETTINGS = Settings(dht=False, mdns="off", listen=HostPort("127.0.0.1", 0))


@pytest.fixture
def folder(home: Home) -> AppFolder:
    folder = AppFolder(home.apps, KEY)
    folder.create()
    folder.trust = b"damaged"
    return folder


@pytest.mark.parametrize("name", ["grant.json", "wish.json", "installed.json", "previous.json", "confirmed"])
async def test_a_damaged_file_of_one_app_stops_no_daemon(home: Home, folder: AppFolder, name: str) -> None:
    (folder.root / name).write_bytes(b"\xff{")
    async with Daemon(home, SETTINGS) as daemon:
        assert daemon.status()["apps"] == 0


async def test_a_permission_of_a_later_version_stops_no_daemon(home: Home, folder: AppFolder) -> None:
    """As after a step back of pearrt: what it was is not known here, so nothing is given."""
    folder.grant = Grant({"camera": True, "p2p": ["store"]}, 0, "ab" * 32, [])
    async with Daemon(home, SETTINGS):
        assert granting.approval(folder) is None
        assert not granting.may_store(folder)


async def test_it_finds_a_moment_to_make_way_though_somebody_is_always_asking(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "IDLE_BY_ITSELF_S", 0.5)
    monkeypatch.setattr(api, "HOLD_UP_S", 5.0)

    link = Link(KEY)

    async def takes_a_while(_: Link) -> dict[str, Any]:
        await asyncio.sleep(0.4)
        return {}

    over = asyncio.Event()

    async def ask() -> None:
        while not over.is_set():
            await asyncio.to_thread(Caller(home).info, link)

    async with Daemon(home, SETTINGS) as daemon:
        monkeypatch.setattr(daemon.apps, "info", takes_a_while)
        askers = []
        for _ in range(8):
            await asyncio.sleep(0.05)
            askers.append(asyncio.create_task(ask()))
        assert not await daemon.api._idle_within(1.0)
        async with asyncio.timeout(20):
            await daemon.quiet()
        assert daemon.api.idle.is_set()
        over.set()
        daemon.api.turning_away = False  # whoever was held up is answered
        await asyncio.gather(*askers)
