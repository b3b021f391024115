"""The shelves of the apps here: one of the swarm for each app that may have one and uses it.

A shelf is open while the app runs and has used it, and as long as something is on it, also when nothing of
the app runs. It is closed when the person takes `p2p` back or removes the app; what is on it stays until the
app is removed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from pearrt.app.granting import may_store
from pearrt.app.library import AppFolder
from pearrt.app.shelf import ShelfFolder, Usage
from pearrt.errors import PearrtError, PeerTimeout
from pearrt.swarm.shelf import Read, Shelf, shelf_topic

log = logging.getLogger(__name__)


class Swarm(Protocol):
    """What of `SwarmService` is needed here."""

    def open_shelf(self, topic: bytes, read: Read) -> Shelf: ...
    def go(self, left: Shelf) -> None: ...


class Shelves:
    """`topic_of` gives an app's own topic, from which that of its shelf is derived; `place_of` where its
    blocks lie."""

    def __init__(
        self, swarm: Swarm, topic_of: Callable[[bytes], bytes], place_of: Callable[[bytes], Path]
    ) -> None:
        self._swarm = swarm
        self._topic_of = topic_of
        self._place_of = place_of
        self._folders: dict[bytes, ShelfFolder] = {}
        self._open: dict[bytes, Shelf] = {}

    async def start(self, folders: Iterable[AppFolder]) -> None:
        """Opens the shelves that something is on, of those of these apps that may have one."""
        for folder in folders:
            try:
                if may_store(folder) and (await self.usage(folder.app_key)).blocks:
                    self._opened(folder.app_key)
            except PearrtError as e:
                log.warning("a shelf is not served: %s", e)

    async def put(self, app_key: bytes, data: bytes, limit_bytes: int) -> bytes:
        """Keeps a block and gives it to members from now on; its SHA-256. Raises as `ShelfFolder.put`."""
        self._opened(app_key)
        return await asyncio.to_thread(self._folder(app_key).put, data, limit_bytes)

    async def get(self, app_key: bytes, block_id: bytes, timeout_s: float) -> bytes:
        """The block from here, else from a member, who are not asked where `timeout_s` is 0. Raises
        PeerTimeout, StoreError."""
        shelf = self._opened(app_key)
        await self.usage(app_key)  # so that `idle` knows
        here = await asyncio.to_thread(self._folder(app_key).get, block_id)
        if here is None and not timeout_s:
            raise PeerTimeout("The block is not here.", hint="With more time, others are asked for it.")
        return here if here is not None else await shelf.fetch(block_id, timeout_s)

    async def drop(self, app_key: bytes, block_id: bytes) -> bool:
        """Forgets a block; whether it was here. Raises StoreError."""
        return await asyncio.to_thread(self._folder(app_key).drop, block_id)

    async def names(self, app_key: bytes, after: bytes, count: int) -> list[bytes]:
        """What is on the shelf, by `count` in the order of names. Raises StoreError."""
        return await asyncio.to_thread(self._folder(app_key).names, after, count)

    async def usage(self, app_key: bytes) -> Usage:
        """What is on the shelf. Raises StoreError."""
        return await asyncio.to_thread(self._folder(app_key).usage)

    def idle(self, app_key: bytes) -> None:
        """Nothing of the app runs any more: its shelf is closed, unless something is on it."""
        if app_key in self._open and self._folder(app_key).empty:
            self.close(app_key)

    def close(self, app_key: bytes) -> None:
        """Gives and fetches nothing of this app any more."""
        self._folders.pop(app_key, None)
        if (shelf := self._open.pop(app_key, None)) is not None:
            self._swarm.go(shelf)

    def _folder(self, app_key: bytes) -> ShelfFolder:
        return self._folders.setdefault(app_key, ShelfFolder(self._place_of(app_key)))

    def _opened(self, app_key: bytes) -> Shelf:
        shelf = self._open.get(app_key)
        if shelf is None:
            folder = self._folder(app_key)

            async def read(block_id: bytes) -> bytes | None:
                try:
                    return await asyncio.to_thread(folder.get, block_id)
                except PearrtError as e:
                    log.warning("a block of a shelf could not be read: %s", e)
                    return None

            shelf = self._open[app_key] = self._swarm.open_shelf(shelf_topic(self._topic_of(app_key)), read)
        return shelf
