"""An app beside its daemon in one process: the real channel, calls and SDK; only the network and the sandbox
are left out."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from pearrt.app import granting
from pearrt.app.apps import Apps
from pearrt.app.followed import FollowedApp
from pearrt.app.library import AppFolder
from pearrt.app.record import Installed
from pearrt.app.start import Start
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.daemon.app_calls import AppCalls
from pearrt.daemon.attendant_token import attendant_token
from pearrt.daemon.channel import Channels
from pearrt.daemon.circles import Circles
from pearrt.daemon.instance import Instance
from pearrt.daemon.live import Live
from pearrt.daemon.proxy import Proxy
from pearrt.daemon.shelves import Shelves
from pearrt.errors import NoSuchApp
from pearrt.link import Link
from pearrt.sandbox.policy import Permissions
from pearrt.sdk import channel as sdk_channel
from tests.support.channel_end import End

DIGEST = "ab" * 32


class KnownApps:
    """What the calls need of `Apps`: the apps that were put here, with real folders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.found: dict[bytes, FollowedApp] = {}
        self.applied: list[bytes] = []

    def add(
        self, app_key: bytes, permissions: Mapping[str, Any] | None = None, *, refused: tuple[str, ...] = ()
    ) -> Start:
        """An installed app whose permissions were approved; its start."""
        manifest = Manifest("told", "1.0", Entry.parse("told:main"), permissions=permissions or {})
        app = FollowedApp(Link(app_key), AppFolder(self.root, app_key))
        app.folder.create()
        app.folder.switch(Installed("1.0", 1, DIGEST, [], "told", 0))
        granting.approve(app.folder, manifest, refused)
        self.found[app_key] = app
        return Start(app_key, "1.0", DIGEST, Permissions.parse(manifest.permissions))

    def known(self, app_key: bytes) -> FollowedApp:
        if app_key not in self.found:
            raise NoSuchApp("not here")
        return self.found[app_key]

    async def apply_update(self, app_key: bytes) -> None:
        self.applied.append(app_key)


class Beside:
    """`known` are the apps, `channels` the daemon's side of those that run."""

    def __init__(self, known: KnownApps, channels: Channels, live: Live) -> None:
        self.known, self.channels, self.live = known, channels, live
        self.tokens: dict[bytes, bytes] = {}

    def token(self, start: Start) -> bytes:
        self.tokens[start.app_key] = self.channels.issue(start)
        return self.tokens[start.app_key]

    def end(self, start: Start) -> End:
        """The app's end by hand."""
        return End(self.channels.socket, self.token(start))

    def attendant(self, start: Start) -> End:
        """The person's end, by hand."""
        return End(self.channels.socket, attendant_token(self.tokens[start.app_key]))

    def instance(self, start: Start) -> Instance:
        [found] = self.channels.of(start.app_key)
        return found

    @contextlib.asynccontextmanager
    async def sdk(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        """While it is open, `pearrt.sdk` in this process is that app's."""
        connection = socket.socket(socket.AF_UNIX)
        loop = asyncio.get_running_loop()
        connection.setblocking(False)
        await loop.sock_connect(connection, str(self.channels.socket))
        await loop.sock_sendall(connection, self.token(start))
        assert await loop.sock_recv(connection, 1) == b"\x01"
        connection.setblocking(True)
        made = sdk_channel.Channel(connection)
        monkeypatch.setattr(sdk_channel, "_channel", made)
        try:
            yield
        finally:
            await asyncio.to_thread(made.close)


@contextlib.asynccontextmanager
async def running(
    home: Path,
    runtime: Path,
    resolve: Callable[..., Any] | None = None,
    *,
    circles: Circles | None = None,
    shelves: Callable[[KnownApps], Shelves] | None = None,
) -> AsyncIterator[Beside]:
    known = KnownApps(home)
    apps = cast(Apps, known)
    live = Live(apps)
    live.circles, live.shelves = circles, shelves(known) if shelves else None
    calls = AppCalls(apps, Proxy(resolve), circles=circles, shelves=live.shelves)
    async with Channels(
        runtime / "app.sock", answer=calls.answer, changed=lambda: None, observer=live
    ) as channels:
        live.channels, calls.others = channels, channels.of
        yield Beside(known, channels, live)
