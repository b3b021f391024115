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
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from aiohttp import web

from pearrt import __version__
from pearrt.app.apps import Apps
from pearrt.app.mirror import AppMirror
from pearrt.daemon import endpoint
from pearrt.daemon.api import Api
from pearrt.daemon.app_calls import AppCalls
from pearrt.daemon.channel import Channels
from pearrt.daemon.circles import Circles
from pearrt.daemon.identity import Identity
from pearrt.daemon.live import Live
from pearrt.daemon.reception import Reception
from pearrt.daemon.self_update import SelfUpdate
from pearrt.daemon.shelves import Shelves
from pearrt.dht.service import DEFAULT_BOOTSTRAP, DhtService
from pearrt.gateway.service import view_factory
from pearrt.lan.hosts import HostsFinder
from pearrt.lan.service import LanService
from pearrt.link import topic_of
from pearrt.paths import Home
from pearrt.peer.listener import stop_accepting
from pearrt.peer.service import PeerService
from pearrt.runtime import formats
from pearrt.runtime.handover import Item, of_kind
from pearrt.runtime.layout import RuntimeFolder, running
from pearrt.settings import Settings
from pearrt.store.service import Store
from pearrt.swarm.finders import DhtFinder, PeerFinder
from pearrt.swarm.service import SwarmService

log = logging.getLogger(__name__)

IDLE_CHECK_S = 1.0
HEARTBEAT_CHECK_S = 60.0
SHUTDOWN_S = 1.0  # what is left of a request that was told to end
DRAIN_POLL_S = 0.05
DRAIN_S = 15.0  # what a peer that fetches from here has to finish in; then it goes on at the next version's


class Daemon:
    """One daemon, as an async context manager. `stop` asks it to end, `stopped` waits for that."""

    def __init__(self, home: Home, settings: Settings, inherited: Sequence[Item] = ()) -> None:
        """`inherited`: what the daemon before this one passed on (`runtime/handover.py`)."""
        self.home = home
        self.settings = settings
        self.inherited = inherited
        self._passing_on = self._door_closed = False
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
            if self._passing_on:
                continue
            if idle_exit_s is not None and time.monotonic() - self._busy_at > idle_exit_s:
                log.info("idle for %d s", idle_exit_s)
                return

    # -- putting it together

    async def _open(self) -> None:
        psk = self.settings.read_psk()
        self.store = self._parts.enter_context(  # and the lock: one daemon per home
            Store(self.home.store, inherited_lock=self._passed_fd("lock"))
        )
        folder = RuntimeFolder(self.home.data)
        await asyncio.to_thread(formats.expand, folder, running(self.home.data))
        await self._open_network(psk)
        tasks = await self._parts.enter_async_context(asyncio.TaskGroup())
        self.apps = Apps(self.home, self.store, self.swarm, tasks, dht=self.dht, psk=psk)
        self._parts.callback(self.apps.close)
        await self.apps.restore()
        await self.peers.take_over()
        self._heartbeat = tasks.create_task(self._beat(), name="heartbeat")
        self._parts.callback(self._heartbeat.cancel)
        self.self_update = SelfUpdate(self, tasks)
        await self._open_api()
        self._parts.callback(self.self_update.close)
        await self.self_update.start()

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
                inherited=[item.socket() for item in of_kind(self.inherited, "tcp")],
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
                inherited=[item.socket() for item in of_kind(self.inherited, "udp")],
            )
        )

    async def _open_api(self) -> None:
        def topic(app_key: bytes) -> bytes:
            return topic_of(app_key, self.apps.psk)

        circles = Circles(self.swarm, topic)
        shelves = Shelves(self.swarm, topic, lambda app_key: self.apps.library.folder(app_key).shelf)
        calls, live = AppCalls(self.apps, circles=circles, shelves=shelves), Live(self.apps)
        live.circles, live.shelves = circles, shelves
        self.channels = live.channels = await self._parts.enter_async_context(
            Channels(
                self.home.runtime / "app.sock",
                answer=calls.answer,
                changed=self._channels_changed,
                observer=live,
                inherited=self.inherited,
            )
        )
        self.apps.running, self.apps.on_event = self.channels.running, live.tell
        calls.others = self.channels.of
        self.apps.on_trust = live.trusted
        await shelves.start(self.apps.library)
        self.api = Api(
            self.apps,
            self.channels,
            live,
            status=self.status,
            stop=self.stop,
            self_update=self.self_update,
        )
        runner = web.AppRunner(self.api.application(), access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        self._parts.push_async_callback(runner.cleanup)
        self._parts.push_async_callback(self.api.close)
        passed = next(of_kind(self.inherited, "api"), None)
        self._api_socket, secret = (
            (passed.socket(), b"") if passed is not None else endpoint.listen(self.home.socket)
        )
        if secret:
            assert runner.server is not None
            self._parts.callback(self._api_socket.close)  # once nobody waits at it any more
            await self._parts.enter_async_context(Reception(self._api_socket, secret, runner.server))
            return
        self._api_site = web.SockSite(runner, self._api_socket)
        await self._api_site.start()
        self._parts.push_async_callback(self._close_door)

    async def _close_door(self) -> None:
        """No request comes in any more; whoever was let in a moment ago is answered."""
        if not self._door_closed:
            self._door_closed = True
            await stop_accepting([self._api_socket])
            await self._api_site.stop()

    def _passed_fd(self, kind: str) -> int:
        item = next(of_kind(self.inherited, kind), None)
        return -1 if item is None else item.take()

    # -- making way for another version: `succession.Predecessor`

    async def quiet(self) -> None:
        """Waits until no request is being answered, and answers no more of them."""
        await self.api.quiet()
        self._passing_on = True

    async def pass_on(self) -> list[Item]:
        """Everything another process needs to go on where this one stops: see `runtime/handover.py`."""
        api = Item("api", {}, os.dup(self._api_socket.fileno()))
        await self._close_door()
        self.apps.close()
        self._heartbeat.cancel()
        await self.swarm.retire()
        items = [api, Item("lock", {}, os.dup(self.store.lock_fd))]
        items += [Item("tcp", {}, sock.detach()) for sock in self.peers.listening_sockets()]
        if self.dht is not None:
            items += [Item("udp", {}, sock.detach()) for sock in self.dht.sockets()]
        items += await self.channels.pass_on()
        self.store.hand_over()
        return items

    async def let_go(self) -> None:
        """Listens nowhere any more; open links stay."""
        await self.peers.stop_listening()
        if self.dht is not None:
            await self.dht.__aexit__(None, None, None)
        await self.lan.__aexit__(None, None, None)

    async def drain(self) -> None:
        """Until peers have what they asked for, and HTTP clients have gone."""
        await self.swarm.drain(DRAIN_S)
        deadline = time.monotonic() + DRAIN_S
        while time.monotonic() < deadline:
            if not self.peers.open_doorways:
                return
            await asyncio.sleep(DRAIN_POLL_S)

    async def _beat(self) -> None:
        while True:
            await self.apps.publishing.beat()
            self.apps.lookout.beat()
            self.apps.rooms.beat()
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
