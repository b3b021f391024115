"""The daemon: everything that lasts longer than one command, put together.

    store -> peers -> DHT, LAN -> swarm -> apps -> channels, local API

It is opened in that order and closed in the reverse one; each part is an async context manager of its own. It
ends by itself when for `idle_exit_s` no app has run and nothing is seeded without end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from aiohttp import web

from pearrt import __version__
from pearrt.app.apps import Apps
from pearrt.app.mirror import AppMirror
from pearrt.daemon.api import Api
from pearrt.daemon.app_calls import AppCalls
from pearrt.daemon.channel import Channels
from pearrt.daemon.identity import Identity
from pearrt.dht.service import DEFAULT_BOOTSTRAP, DhtService
from pearrt.gateway.service import view_factory
from pearrt.lan.hosts import HostsFinder
from pearrt.lan.service import LanService
from pearrt.paths import Home
from pearrt.peer.service import PeerService
from pearrt.settings import Settings
from pearrt.store.service import Store
from pearrt.swarm.finders import DhtFinder, PeerFinder
from pearrt.swarm.service import SwarmService

log = logging.getLogger(__name__)

IDLE_CHECK_S = 1.0
HEARTBEAT_CHECK_S = 60.0


class Daemon:
    """One daemon, as an async context manager. `stop` asks it to end, `stopped` waits for that."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self.home = home
        self.settings = settings
        self.started_at = time.time()
        self._stop = asyncio.Event()
        self._parts = contextlib.AsyncExitStack()
        self._busy_at = time.monotonic()

    async def __aenter__(self) -> Daemon:
        self.home.prepare()
        try:
            await self._open()
        except BaseException:
            await self._parts.aclose()
            raise
        log.info("pearrt %s: peer %s at %s", __version__, self.peers.peer_id.hex()[:8], self.peers.address)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._parts.__aexit__(kind, error, trace)
        log.info("stopped")

    def stop(self) -> None:
        self._stop.set()

    async def stopped(self) -> None:
        """Returns when the daemon was asked to stop or has been idle for long enough."""
        idle_exit_s = self.settings.idle_exit_s
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE_CHECK_S):
                    await self._stop.wait()
            if self.channels.open or self.apps.seeding:
                self._busy_at = time.monotonic()
            if idle_exit_s is not None and time.monotonic() - self._busy_at > idle_exit_s:
                log.info("idle for %d s", idle_exit_s)
                return

    # -- putting it together

    async def _open(self) -> None:
        psk = self.settings.read_psk()
        self.store = self._parts.enter_context(Store(self.home.store))  # and the lock: one daemon per home
        await self._open_network(psk)
        tasks = await self._parts.enter_async_context(asyncio.TaskGroup())
        self.apps = Apps(self.home, self.store, self.swarm, tasks, dht=self.dht, psk=psk)
        self._parts.callback(self.apps.close)
        await self.apps.restore()
        heartbeat = tasks.create_task(self._beat(), name="heartbeat")
        self._parts.callback(heartbeat.cancel)
        await self._open_api()

    async def _open_network(self, psk: bytes) -> None:
        identity = Identity.open(self.home.identity)
        self.peers = await self._parts.enter_async_context(
            PeerService(
                identity_seed=identity.seed,
                bind=self._bind(identity),
                psk=psk,
                agent=f"pearrt/{__version__}",
                http_factory=self._view() if self.settings.mirror_view and not psk else None,
                max_links=self.settings.max_peers,
                any_port_if_taken=self.settings.listen is None or self.settings.listen.port == 0,
            )
        )
        if self.peers.address[1] != identity.port:
            Identity(identity.seed, self.peers.address[1]).save(self.home.identity)
        self.dht = await self._open_dht()
        self.lan = await self._parts.enter_async_context(
            LanService(port=self.peers.address[1], mdns=self.settings.mdns)
        )
        finders: list[PeerFinder] = [HostsFinder(self.settings.hosts), self.lan]
        if self.dht is not None:
            finders.append(DhtFinder(self.dht))
        self.swarm = SwarmService(store=self.store, finders=finders, folder=self.home.data / "peers")
        self.swarm.attach(self.peers)
        self.peers.on_link = self.swarm.link_opened
        await self._parts.enter_async_context(self.swarm)

    def _view(self) -> Callable[[], asyncio.Protocol]:
        """The read-only HTTP view of the apps; there is nothing to see before they are read from disk."""
        return view_factory(AppMirror(lambda: getattr(self, "apps", None)))

    def _bind(self, identity: Identity) -> list[tuple[str, int]]:
        """Where to listen: what the settings say, else everywhere, by IPv4 and, where there is any, IPv6."""
        listen = self.settings.listen
        if listen is not None:
            return [(listen.host, listen.port or identity.port)]
        hosts = ["0.0.0.0", "::"] if _has_ipv6() else ["0.0.0.0"]  # noqa: S104 - peers are to reach it
        return [(host, identity.port) for host in hosts]

    async def _open_dht(self) -> DhtService | None:
        if not self.settings.dht:
            return None
        bootstrap = DEFAULT_BOOTSTRAP if self.settings.bootstrap is None else self.settings.bootstrap
        return await self._parts.enter_async_context(
            DhtService(
                bind=self.peers.address,
                v6_bind=next(iter(self.peers.addresses[1:]), None),
                bootstrap=bootstrap,
                table_file=self.home.dht_table,
            )
        )

    async def _open_api(self) -> None:
        calls = AppCalls(self.apps)
        self.channels = await self._parts.enter_async_context(
            Channels(self.home.runtime / "app.sock", answer=calls.answer, changed=self._channels_changed)
        )
        self.apps.running, self.apps.on_event = self.channels.running, self.channels.tell
        runner = web.AppRunner(
            Api(self.apps, self.channels, status=self.status, stop=self.stop).application(), access_log=None
        )
        await runner.setup()
        self._parts.push_async_callback(runner.cleanup)
        with contextlib.suppress(FileNotFoundError):
            self.home.socket.unlink()
        await web.UnixSite(runner, str(self.home.socket)).start()
        self.home.socket.chmod(0o600)

    async def _beat(self) -> None:
        while True:
            await self.apps.beat()
            await asyncio.sleep(HEARTBEAT_CHECK_S)

    def _channels_changed(self) -> None:
        self._busy_at = time.monotonic()

    def status(self) -> dict[str, Any]:
        """What `pearrt daemon status` shows."""
        usage = self.store.usage()
        return {
            "version": __version__,
            "pid": os.getpid(),
            "home": str(self.home.data),
            "uptime_s": int(time.time() - self.started_at),
            "peer_id": self.peers.peer_id.hex(),
            "address": list(self.peers.address),
            "links": len(self.peers.links),
            "dht": None if self.dht is None else _dht_stats(self.dht),
            "store": {"blocks": usage.blocks, "bytes": usage.stored_bytes},
            "apps": len(self.apps.followed),
            "running_apps": len(self.channels.open),
        }


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _dht_stats(dht: DhtService) -> dict[str, Any]:
    stats = dht.stats()
    return {
        "nodes": stats.contacts_v4 + stats.contacts_v6,
        "datagrams_in": stats.datagrams_in,
        "datagrams_out": stats.datagrams_out,
        "topics_stored": stats.topics_stored,
        "items_stored": stats.items_stored,
    }
