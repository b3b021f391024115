"""Where the runtime's peers are: every way to find them at once, none waits for another.

    hosts named on the command line, carried nodes, the link's nodes    addresses as they are
    mirrors of the link and of the command line                         URLs as they are
    DHT                                                                 a lookup of the runtime's topic
    LAN                                                                 one-shot mDNS

What is found is a hint: whoever answers there still has to show signed metadata and blocks that fit. The DHT
and the LAN are asked from threads of their own, again and again until the pool has enough.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

from pearrt.dht.service import DhtService
from pearrt.errors import PearrtError
from pearrt.gateway.http_source import HttpSource
from pearrt.lan.one_shot import ask
from pearrt.link import HostPort, dht_topic

LOOK_AGAIN_S = 2.0
Found = Callable[[str, Callable[[], HttpSource]], None]


@dataclass(frozen=True, slots=True)
class Places:
    """Where to look. `bootstrap`: the first DHT nodes, () for no DHT. `mdns`: off, loopback or all."""

    hosts: tuple[HostPort, ...] = ()
    mirrors: tuple[str, ...] = ()
    bootstrap: tuple[HostPort, ...] = ()
    bind: str = "0.0.0.0"  # noqa: S104 - answers come from anywhere
    mdns: str = "off"


class Discovery:
    """A context manager: looks while it is open, tells `found(name, connect)` from several threads."""

    def __init__(self, topic: bytes, places: Places, found: Found) -> None:
        self._topic = topic
        self.places = places
        self._found = found
        self._stop = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._threads: list[threading.Thread] = []
        self._pending = 0
        self.dht_nodes = 0
        self.dht_error = ""
        self.in_lan = 0

    def __enter__(self) -> Discovery:
        for host in self.places.hosts:
            self._peer(host)
        for mirror in self.places.mirrors:
            self._found(mirror, partial(HttpSource, mirror))
        works = [self._dht] if self.places.bootstrap else []
        works += [self._lan] if self.places.mdns != "off" else []
        self._pending = len(works)
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._loop is not None and self._stopping is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
        for thread in self._threads:
            thread.join(1.0)

    @property
    def looked_once(self) -> bool:
        """Whether every way has come to an end once, with or without a find."""
        return self._pending <= 0

    def told(self) -> list[str]:
        """How the search went, in words."""
        said = []
        if self.places.bootstrap:
            said.append(f"DHT ({self.dht_error or f'{self.dht_nodes} nodes answer'})")
        if self.places.mdns != "off":
            said.append(f"LAN ({self.in_lan or 'nobody'})")
        return said

    def _peer(self, peer: HostPort) -> None:
        self._found(str(peer), lambda: HttpSource.of_peer(peer))

    def _lan(self) -> None:
        first = True
        while not self._stop.is_set():
            with contextlib.suppress(OSError):
                for host, port in ask(self.places.mdns):
                    self.in_lan += 1
                    self._peer(HostPort(host, port))
            if first:
                self._pending -= 1
                first = False
            self._stop.wait(LOOK_AGAIN_S)

    def _dht(self) -> None:
        try:
            asyncio.run(self._look())
        except (OSError, PearrtError) as e:
            self.dht_error = str(e)
            self._pending -= 1

    async def _look(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        first = True
        everywhere = self.places.bind == "0.0.0.0"  # noqa: S104 - compared, not bound
        async with DhtService(
            bind=(self.places.bind, 0),
            v6_bind=("::", 0) if everywhere else None,
            bootstrap=self.places.bootstrap,
            read_only=True,
        ) as dht:
            while not self._stop.is_set():
                await self._until_stopped(self._lookup(dht))
                if first:
                    self._pending -= 1
                    first = False
                stats = dht.stats()
                self.dht_nodes = stats.contacts_v4 + stats.contacts_v6
                await self._until_stopped(asyncio.sleep(LOOK_AGAIN_S))

    async def _lookup(self, dht: DhtService) -> None:
        async for host, port in dht.get_peers(dht_topic(self._topic)):
            self._peer(HostPort(host, port))

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._stopping is not None
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(self._stopping.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
