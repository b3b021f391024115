"""A DHT to test against: `Testnet` runs Mainline nodes on loopback, inside this process, with no route to the
outside.

async with Testnet(20) as net:
    async with DhtService(bind=("127.0.0.1", 0), bootstrap=net.bootstrap) as dht: ...
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from pearrt.dht.service import DhtService
from pearrt.dht.settings import DhtSettings
from pearrt.link import HostPort

_BOOTSTRAP_NODES = 3


class Testnet:
    """`size` DHT nodes on 127.0.0.1 that know each other. An async context manager."""

    __test__ = False  # not a test class, whatever pytest makes of the name

    def __init__(self, size: int = 10, *, settings: DhtSettings | None = None) -> None:
        if size < 1:
            raise ValueError("a test network has at least one node")
        self._size = size
        self._settings = settings
        self._stack = AsyncExitStack()
        self.nodes: list[DhtService] = []

    @property
    def bootstrap(self) -> list[HostPort]:
        """What to give a DhtService (or PEARRT_BOOTSTRAP, joined by commas) to join this network."""
        return [HostPort(*node.address) for node in self.nodes[:_BOOTSTRAP_NODES]]

    async def __aenter__(self) -> Self:
        try:
            for _ in range(self._size):
                node = DhtService(bind=("127.0.0.1", 0), bootstrap=self.bootstrap, settings=self._settings)
                self.nodes.append(await self._stack.enter_async_context(node))
            await asyncio.gather(*(node.lookup(node.node_id) for node in self.nodes))
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
