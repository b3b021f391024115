"""A private DHT for tests whose programs run in processes of their own: nodes on loopback, in a thread."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

from pearrt.testing import Testnet


class TestnetThread:
    """A context manager. `bootstrap` is what PEARRT_BOOTSTRAP wants."""

    __test__ = False

    def __init__(self, size: int = 8) -> None:
        self.size = size
        self.bootstrap = ""
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30), "the test network did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with Testnet(self.size) as net:
            self.bootstrap = ",".join(map(str, net.bootstrap))
            self._ready.set()
            await self._stop.wait()
