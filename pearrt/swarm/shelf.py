"""Shelves: blocks that an app keeps for itself on several machines. What is in them is the app's own.

Rules:
    the topic     derived one-way from the app's topic (`shelf_topic`), one shelf an app; who knows the app
                  can join, nobody else learns of it
    a block       named by the SHA-256 of its bytes, at most MAX_SHELF_BLOCK_BYTES; who asks has to know the
                  name, and nothing tells which names there are
    asking        few members at a time, those that gave most first; one that has not got it, is busy or stays
                  silent is asked again later, until the time is up
    giving        read from what the app put there and nothing else of the machine; bounded for each member
                  and in all. Who is over it is told BUSY

A block that was asked for and comes late is nobody's fault: `owed` is the link's, and outlives the shelf.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from pearrt.crypto.hashes import hmac_sha256, sha256
from pearrt.errors import PeerTimeout, ProtocolViolation
from pearrt.peer import messages as wire
from pearrt.swarm.allowance import Allowance
from pearrt.swarm.sought import Sought

if TYPE_CHECKING:
    from pearrt.peer.link import PeerLink

MAX_SHELF_BLOCK_BYTES = 32 * 1024
MAX_MEMBERS = 64
MAX_OWED = 64  # blocks that one peer was asked for and has not answered
MAX_GIVING = 16  # requests of one member that are being answered
MAX_WAITING_BYTES = 1 << 20  # on a link; with more on its way to a member, it is told BUSY
IDS_PER_S, ID_BURST = 400, 2000  # asked for by one member
READS_PER_S, READ_BURST = 2000, 8000  # of the disk, for all members together
GIVEN_BYTES_PER_S, GIVEN_BYTE_BURST = 8 << 20, 32 << 20  # to all members together
ASKED_AT_ONCE = 3
ANSWER_S = 5.0  # with no answer by then, another is asked
AGAIN_AFTER_S = 5.0  # a member that had not got it may have it by then
BUSY_S = 0.5
CLOSED = "The app's shelf was closed."

Read = Callable[[bytes], Awaitable[bytes | None]]


def shelf_topic(app_topic: bytes) -> bytes:
    """The topic of an app's shelf."""
    return hmac_sha256(app_topic, b"pearrt-shelf-v1")


def settle(owed: Counter[bytes], block_id: bytes) -> bool:
    """A peer answers for a block; whether it was asked for it."""
    if block_id not in owed:
        return False
    owed[block_id] -= 1
    if not owed[block_id]:
        del owed[block_id]
    return True


@dataclass(slots=True)
class ShelfMember:
    """One member, how many blocks it gave, and what it may still ask for."""

    channel: int
    near: bool
    owed: Counter[bytes]
    ids: Allowance
    gave: int = 0
    giving: int = 0


@dataclass(slots=True, eq=False)
class _Wanted:
    """A block that somebody here waits for. `again` is when a member may be asked (once more); `asked` those
    that have not answered."""

    found: asyncio.Future[bytes]
    news: asyncio.Event
    waiters: int = 0
    asked: set[PeerLink] = field(default_factory=set)
    again: dict[PeerLink, float] = field(default_factory=dict)


class Shelf(Sought):
    """Made by `SwarmService.open_shelf`. `read(id)` gives a block of the app's that is kept here,
    `owed(link)` what a peer was asked for and has not answered."""

    def __init__(
        self,
        topic: bytes,
        rng: Random,
        *,
        read: Read,
        owed: Callable[[PeerLink], Counter[bytes]],
        wanted_peers: int,
    ) -> None:
        super().__init__(topic, rng, wanted_peers=wanted_peers)
        self.members: dict[PeerLink, ShelfMember] = {}
        self._read = read
        self._owed = owed
        self._rng = rng
        self._wanted: dict[bytes, _Wanted] = {}
        self._giving: set[asyncio.Task[None]] = set()
        self._closed = False
        now = time.monotonic()
        self._reads = Allowance(burst=READ_BURST, per_s=READS_PER_S, now=now)
        self._uplink = Allowance(burst=GIVEN_BYTE_BURST, per_s=GIVEN_BYTES_PER_S, now=now)

    async def fetch(self, block_id: bytes, timeout_s: float) -> bytes:
        """The block from a member. Raises PeerTimeout where none has given it in time, or the shelf is
        closed."""
        if self._closed:
            raise PeerTimeout(CLOSED)
        wanted = self._wanted.get(block_id)
        if wanted is None:
            found = asyncio.get_running_loop().create_future()
            wanted = self._wanted[block_id] = _Wanted(found, asyncio.Event())
        wanted.waiters += 1
        try:
            async with asyncio.timeout(timeout_s):
                return await self._pursue(block_id, wanted)
        except TimeoutError as e:
            who = "None of the members has it" if self.members else "Nobody else who keeps blocks is here"
            raise PeerTimeout(
                f"The block did not come within {timeout_s:g} s. {who}.",
                hint="It is there as soon as a machine that keeps it is up.",
            ) from e
        finally:
            wanted.waiters -= 1
            if not wanted.waiters:
                self._wanted.pop(block_id, None)
                wanted.found.cancel()

    async def _pursue(self, block_id: bytes, wanted: _Wanted) -> bytes:
        while not wanted.found.done():
            wanted.news.clear()
            due = self._ask(block_id, wanted, time.monotonic())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due):
                    await wanted.news.wait()
        return wanted.found.result()

    def _ask(self, block_id: bytes, wanted: _Wanted, now: float) -> float | None:
        """Asks whom it is time to ask; gives in how many seconds to look again, None for at the next news."""
        for link in [link for link in wanted.asked if wanted.again[link] <= now]:
            wanted.asked.discard(link)  # too late; it is asked again like anybody
        due = [
            (-member.gave, self._rng.random(), link)
            for link, member in self.members.items()
            if wanted.again.get(link, 0.0) <= now and member.owed.total() < MAX_OWED
        ]
        due.sort(key=lambda each: each[:2])
        for _, _, link in due[: ASKED_AT_ONCE - len(wanted.asked)]:
            member = self.members[link]
            member.owed[block_id] += 1
            wanted.asked.add(link)
            wanted.again[link] = now + ANSWER_S
            link.send(wire.Request(member.channel, (block_id,)))
        later = [wanted.again.get(link, now + BUSY_S) for link in self.members]
        return min((max(at - now, 0.01) for at in later), default=None)

    def close(self) -> None:
        """Gives nothing any more; who waits for a block is told so."""
        self._closed = True
        for task in self._giving:
            task.cancel()
        for wanted in self._wanted.values():
            if not wanted.found.done():
                wanted.found.set_exception(PeerTimeout(CLOSED))
                wanted.found.exception()  # it may be that nobody looks
            wanted.news.set()

    # -- for the service

    def peer_joined(self, link: PeerLink, channel: int, *, near: bool) -> None:
        if len(self.members) >= MAX_MEMBERS:
            return
        allowed = Allowance(burst=ID_BURST, per_s=IDS_PER_S, now=time.monotonic())
        self.members[link] = ShelfMember(channel, near, self._owed(link), allowed)
        self._tell()

    def peer_left(self, link: PeerLink) -> None:
        self.members.pop(link, None)
        for wanted in self._wanted.values():
            wanted.asked.discard(link)
            wanted.again.pop(link, None)
        self._tell()

    def received(self, link: PeerLink, message: wire.Message, now: float) -> None:
        """A message in the shelf's channel. Raises ProtocolViolation for one of another kind."""
        member = self.members.get(link)
        if isinstance(message, wire.Request):
            if member is not None:
                self._asked(link, member, message, now)
        elif isinstance(message, wire.Refuse):
            for block_id in message.ids:
                self._refused(link, block_id, message.reason, now)
        else:
            raise ProtocolViolation(f"A {type(message).__name__} in a shelf.")

    def block(self, link: PeerLink, message: wire.Block) -> None:
        """A block that this peer owed. Raises ProtocolViolation where it is not what its name says."""
        if len(message.data) > MAX_SHELF_BLOCK_BYTES or sha256(message.data) != message.id:
            raise ProtocolViolation("A block of a shelf is not what its name says.")
        if (member := self.members.get(link)) is not None:
            member.gave += 1
        wanted = self._wanted.get(message.id)
        if wanted is not None and not wanted.found.done():
            wanted.found.set_result(bytes(message.data))
            wanted.news.set()

    def _refused(self, link: PeerLink, block_id: bytes, reason: int, now: float) -> None:
        if (member := self.members.get(link)) is not None:
            settle(member.owed, block_id)
        wanted = self._wanted.get(block_id)
        if wanted is not None and link in wanted.asked:
            wanted.asked.discard(link)
            wanted.again[link] = now + (BUSY_S if reason == wire.BUSY else AGAIN_AFTER_S)
            wanted.news.set()

    def _asked(self, link: PeerLink, member: ShelfMember, message: wire.Request, now: float) -> None:
        count = len(message.ids)
        if member.giving >= MAX_GIVING or not member.ids.take(now, count) or not self._reads.take(now, count):
            link.send(wire.Refuse(member.channel, wire.BUSY, message.ids))
            return
        member.giving += 1
        task = asyncio.get_running_loop().create_task(self._give(link, member, message.ids))
        self._giving.add(task)
        task.add_done_callback(self._giving.discard)

    async def _give(self, link: PeerLink, member: ShelfMember, ids: tuple[bytes, ...]) -> None:
        try:
            for block_id in ids:
                data = await self._read(block_id)
                if link.closed or self.members.get(link) is not member:
                    return
                if not data:
                    link.send(wire.Refuse(member.channel, wire.NOT_FOUND, (block_id,)))
                elif link.queued_bytes > MAX_WAITING_BYTES or not self._uplink.take(
                    time.monotonic(), len(data)
                ):
                    link.send(wire.Refuse(member.channel, wire.BUSY, (block_id,)))
                else:
                    link.send(wire.Block(block_id, data))
        finally:
            member.giving -= 1

    def _tell(self) -> None:
        for wanted in self._wanted.values():
            wanted.news.set()
