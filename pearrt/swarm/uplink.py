"""Serves blocks: carries out what the upload queue grants. A shell.

A block is read from the store (at once where it is in the page cache, else in a thread) and handed to the
link; its slot is free again once the link has passed it to the socket. A block that the store lost or dropped
as damaged is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pearrt.errors import PearrtError
from pearrt.peer.bodies import Buffer
from pearrt.peer.messages import BYE_LIMIT, NOT_FOUND, Block, Promise, Refuse
from pearrt.peer.pool import BufferPool
from pearrt.store.service import Store
from pearrt.swarm.upload import Grant, Promised, UploadQueue

if TYPE_CHECKING:
    from pearrt.peer.link import PeerLink

READERS = 2

BLOCKS_IN_LINK = 2  # handed to a link at once; what else is in service for it is read ahead

# (link, topic) -> channel, or None where the peer has left the app
ChannelOf = Callable[["PeerLink", bytes], int | None]


@dataclass(slots=True)
class _Outlet:
    """One link's blocks: `leaving` (id, size) in the link, `ready` read and waiting for it."""

    leaving: deque[tuple[bytes, int]] = field(default_factory=deque)
    ready: deque[tuple[Grant[PeerLink], Buffer]] = field(default_factory=deque)


class Uplink:
    """All uploads of this process."""

    def __init__(
        self,
        store: Store,
        queue: UploadQueue[PeerLink],
        channel_of: ChannelOf,
        on_served: Callable[[PeerLink, bytes, int], None],
        on_lost: Callable[[bytes, bytes], None],
    ) -> None:
        self._store = store
        self._queue = queue
        self._channel_of = channel_of
        self._on_served = on_served
        self._on_lost = on_lost
        self._memory = BufferPool()
        self._readers = ThreadPoolExecutor(READERS, "uplink")
        self._outlets: dict[PeerLink, _Outlet] = {}
        self._due = False
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._readers.shutdown(wait=True, cancel_futures=True)

    def serve_soon(self) -> None:
        """Starts what the queue grants, after the present batch of events."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._serve)

    def link_ready(self, link: PeerLink) -> None:
        """The link passed on all its blocks: the next, read ahead, follow at once, then more are read."""
        outlet = self._outlets.get(link)
        if outlet is None or not outlet.leaving:
            return
        now = time.monotonic()
        for _, size in outlet.leaving:
            self._queue.sent(link, size, now)
        outlet.leaving.clear()
        self._fill(link, outlet)
        self.serve_soon()

    def cancelled(self, link: PeerLink, block_ids: Iterable[bytes]) -> None:
        """The peer no longer wants these: what has not begun to leave is dropped."""
        outlet = self._outlets.get(link)
        if outlet is None:
            return
        for block_id in block_ids:
            for entry in [entry for entry in outlet.leaving if entry[0] == block_id]:
                if link.drop_block(block_id):
                    outlet.leaving.remove(entry)
                    self._queue.sent(link, 0, time.monotonic())
            for grant, data in [entry for entry in outlet.ready if entry[0].block_id == block_id]:
                outlet.ready.remove((grant, data))
                self._queue.sent(link, 0, time.monotonic())
        self._fill(link, outlet)

    def link_lost(self, link: PeerLink) -> None:
        self._outlets.pop(link, None)
        self._queue.remove(link)
        self.serve_soon()

    def _serve(self) -> None:
        self._due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while (slowest := self._queue.to_evict(time.monotonic())) is not None:
            self._queue.remove(slowest)
            slowest.close("reads too slowly", code=BYE_LIMIT)
        for item in self._queue.serve(time.monotonic()):
            channel = self._channel_of(item.peer, _topic(item))
            if isinstance(item, Promised):
                if channel is not None:
                    ordinals = (item.grant.ordinal,) if item.grant and item.grant.ordinal is not None else ()
                    item.peer.send(Promise(channel, item.ref, ordinals))
            elif channel is None:
                self._queue.sent(item.peer, 0, time.monotonic())
                self.serve_soon()
            else:
                self._read(item, channel)
        now = time.monotonic()
        if (again := self._queue.look_again_at(now)) is not None:
            self._timer = asyncio.get_running_loop().call_later(again - now, self._serve)

    def _read(self, grant: Grant[PeerLink], channel: int) -> None:
        data = self._store.get_now(grant.block_id, self._memory.take)
        if data is not None:  # a thread would cost more than the read
            self._send(grant, data)
            return
        loop = asyncio.get_running_loop()
        future = self._readers.submit(self._store.get, grant.block_id)

        def finished(result: Future[bytes]) -> None:
            if not loop.is_closed() and not result.cancelled():
                loop.call_soon_threadsafe(self._was_read, grant, channel, result)

        future.add_done_callback(finished)

    def _was_read(self, grant: Grant[PeerLink], channel: int, result: Future[bytes]) -> None:
        try:
            data = result.result()
        except PearrtError:
            if not grant.peer.closed:
                grant.peer.send(Refuse(channel, NOT_FOUND, (grant.block_id,)))
                self._queue.sent(grant.peer, 0, time.monotonic())
                self.serve_soon()
            self._on_lost(_topic(grant), grant.block_id)
            return
        self._send(grant, data)

    def _send(self, grant: Grant[PeerLink], data: Buffer) -> None:
        if not grant.peer.closed:
            outlet = self._outlets.setdefault(grant.peer, _Outlet())
            outlet.ready.append((grant, data))
            self._fill(grant.peer, outlet)

    def _fill(self, link: PeerLink, outlet: _Outlet) -> None:
        while outlet.ready and len(outlet.leaving) < BLOCKS_IN_LINK and not link.closed:
            grant, data = outlet.ready.popleft()
            outlet.leaving.append((grant.block_id, len(data)))
            self._on_served(link, _topic(grant), len(data))
            link.send(Block(grant.block_id, data))


def _topic(item: Grant[PeerLink] | Promised[PeerLink]) -> bytes:
    assert isinstance(item.scope, bytes)
    return item.scope
