"""Blocks on their way into the store: hashed and written off the event loop, results handed back in batches.

A shell. At most MAX_WAITING blocks are here at once before `full` says so; then nothing new is asked for, so
memory stays bounded by that plus what was already asked for. `store.put` hashes before it writes and lets
other threads run meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from pearrt.errors import PearrtError
from pearrt.peer.bodies import Buffer
from pearrt.store.service import Store

MAX_WAITING = 32
WORKERS = (
    1  # hashing and writing 256 KiB takes a third of a millisecond; more threads only contend with the loop
)

Done = Callable[[PearrtError | None], None]


class Intake:
    """The writers. Use between `start` and `stop`."""

    def __init__(self, store: Store) -> None:
        self.waiting = 0
        self._store = store
        self._queue: SimpleQueue[tuple[bytes, Buffer, Done] | None] = SimpleQueue()
        self._results: deque[tuple[Done, PearrtError | None]] = deque()
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake_pending = False

    @property
    def full(self) -> bool:
        return self.waiting >= MAX_WAITING

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        for number in range(WORKERS):
            thread = threading.Thread(target=self._work, name=f"intake-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    async def stop(self) -> None:
        """Writes what is waiting, then ends the threads."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        self._threads.clear()
        self._hand_back()

    def put(self, block_id: bytes, data: Buffer, done: Done) -> None:
        """Stores a block; `done` is called on the loop with the error, if any."""
        self.waiting += 1
        self._queue.put((block_id, data, done))

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            block_id, data, done = item
            error: PearrtError | None = None
            try:
                self._store.put(block_id, data if isinstance(data, bytes) else memoryview(data))
            except PearrtError as e:
                error = e
            del data, item
            self._results.append((done, error))
            if not self._wake_pending and self._loop is not None and not self._loop.is_closed():
                self._wake_pending = True
                self._loop.call_soon_threadsafe(self._hand_back)

    def _hand_back(self) -> None:
        self._wake_pending = False
        while self._results:
            done, error = self._results.popleft()
            self.waiting -= 1
            done(error)
