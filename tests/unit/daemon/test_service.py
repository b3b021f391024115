"""The daemon starts whatever one app's files are like, and serves the others."""

from __future__ import annotations

import pytest

from pearrt.app import granting
from pearrt.app.library import AppFolder
from pearrt.app.record import Grant
from pearrt.daemon.service import Daemon
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
