"""A peer that fetches the whole time: all blocks of a bundle from a few machines, forgets them, and begins
again; and their metadata over HTTP, by a new connection each time."""

from __future__ import annotations

import asyncio
import contextlib
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from pearrt.bundle.index import Index
from pearrt.errors import PearrtError
from pearrt.link import Link, encode_key
from pearrt.store.service import Store
from pearrt.swarm.membership import Membership
from tests.support.hostile_seeder import StandingApp
from tests.support.in_thread import InThread
from tests.support.swarm_apps import serving

ASK_EVERY_S = 0.01


class Fetcher(InThread):
    """A context manager. `hosts` are peer addresses; `failures` says what failed, in words."""

    def __init__(
        self, link: Link, metadata: bytes, index: Index, hosts: Sequence[tuple[str, int]], folder: Path
    ) -> None:
        super().__init__()
        self.app = StandingApp(link, metadata)
        self.link, self.index, self.hosts, self.folder = link, index, hosts, folder
        self.fetched = self.fetched_bytes = self.asked = 0
        self.failures: list[str] = []
        self.slowest_s = 0.0

    @asynccontextmanager
    async def service(self) -> AsyncIterator[None]:
        with Store(self.folder) as store:
            async with serving(store) as peer:
                members = await peer.swarm.join(self.app)
                for host in self.hosts:
                    members.add_peer(host)
                tasks = [
                    asyncio.create_task(self._fetch(members, store)),
                    asyncio.create_task(self._ask()),
                ]
                try:
                    yield
                finally:
                    for task in tasks:
                        task.cancel()
                    for task in tasks:
                        with contextlib.suppress(asyncio.CancelledError):
                            await task

    async def _fetch(self, members: Membership, store: Store) -> None:
        while True:
            began = time.monotonic()
            try:
                await members.fetch(self.index.blocks)
                self.fetched += 1
                self.fetched_bytes += sum(block.size for block in self.index.blocks)
            except PearrtError as e:
                self.failures.append(f"{e.code}: {e.message}")
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            store.gc()
            await asyncio.sleep(0.05)

    async def _ask(self) -> None:
        path = f"/pearrt/v1/{encode_key(self.link.app_key)}/metadata"
        while True:
            for host, port in self.hosts:
                try:
                    await asyncio.to_thread(_get, f"http://{host}:{port}{path}")
                    self.asked += 1
                except OSError as e:
                    self.failures.append(f"{host}:{port}: {e}")
            await asyncio.sleep(ASK_EVERY_S)


def _get(url: str) -> None:
    with urllib.request.urlopen(url, timeout=10) as answer:
        if not answer.read():
            raise OSError("an empty answer")
