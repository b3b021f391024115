"""A private DHT for tests whose programs run in processes of their own: nodes on loopback, in a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pearrt.testing import Testnet
from tests.support.in_thread import InThread


class TestnetThread(InThread):
    """A context manager. `bootstrap` is what PEARRT_BOOTSTRAP wants, `net` the nodes."""

    __test__ = False
    net: Testnet

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.size = size
        self.bootstrap = ""

    @asynccontextmanager
    async def service(self) -> AsyncIterator[None]:
        async with Testnet(self.size) as net:
            self.net = net
            self.bootstrap = ",".join(map(str, net.bootstrap))
            yield
