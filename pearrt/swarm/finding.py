"""Keeps a membership, circle or shelf supplied with peers: runs the finders, announces, dials. A shell around
`Dialer`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence

from pearrt.errors import PearrtError
from pearrt.peer.handshake import SelfConnection
from pearrt.peer.link import PeerLink
from pearrt.peer.service import PeerService
from pearrt.swarm.finders import PeerFinder, origin_of
from pearrt.swarm.scope import Address
from pearrt.swarm.sought import Sought

FIND_EVERY_S = 60.0
FIND_SOON_S = 2.0  # while there is no peer at all
ANNOUNCE_EVERY_S = 20 * 60.0  # BEP 5: a token is good for 10 minutes, a peer is forgotten after 30 to 45
ANNOUNCE_AGAIN_S = 10.0  # while nobody has taken it: the network may still be joining, or tiny
JOIN_WAIT_S = 10.0

log = logging.getLogger(__name__)


class Finding:
    """`run` until cancelled."""

    def __init__(
        self,
        sought: Sought,
        finders: Sequence[PeerFinder],
        peers: PeerService,
        on_dialled: Callable[[Sought, Address, PeerLink], None],
        is_banned: Callable[[bytes | None, str], bool],
    ) -> None:
        self._sought = sought
        self._finders = finders
        self._peers = peers
        self._on_dialled = on_dialled
        self._is_banned = is_banned

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for finder in self._finders:
                group.create_task(self._find(finder))
                group.create_task(self._announce(finder))
            await self._dial(group)

    async def _find(self, finder: PeerFinder) -> None:
        sought = self._sought
        origin = origin_of(finder)
        while True:
            with _logged(finder, "find"):
                async for address in finder.find(sought.topic):
                    sought.add_peer(address, origin)
            enough = bool(sought.members)
            await asyncio.sleep(FIND_EVERY_S if enough else FIND_SOON_S)

    async def _announce(self, finder: PeerFinder) -> None:
        while True:
            places = 0
            if self._peers.addresses:
                with _logged(finder, "announce"):
                    places = await finder.announce(self._sought.topic, self._peers.address[1])
            await asyncio.sleep(ANNOUNCE_EVERY_S if places else ANNOUNCE_AGAIN_S)

    async def _dial(self, group: asyncio.TaskGroup) -> None:
        sought = self._sought
        while True:
            sought.dial_soon.clear()
            now = time.monotonic()
            for address in self._due(now):
                if self._is_banned(None, address[0]):
                    sought.dialer.forget(address)
                else:
                    group.create_task(self._connect(address))
            due = sought.dialer.next_due()
            wait = FIND_EVERY_S if due is None else min(max(due - now, 0.2), FIND_EVERY_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await sought.dial_soon.wait()

    def _due(self, now: float) -> list[Address]:
        members = self._sought.members
        near = sum(member.near for member in members.values())
        return self._sought.dialer.due(len(members), near, now)

    async def _connect(self, address: Address) -> None:
        sought = self._sought
        try:
            link = await self._peers.connect(address)
        except SelfConnection:
            sought.ourselves.add(address)
            sought.dialer.forget(address)
            return
        except PearrtError as e:
            log.debug("dialling %s:%d: %s", *address, e)
            sought.dialer.failed(address, time.monotonic())
            return
        finally:
            sought.dial_soon.set()
        self._on_dialled(sought, address, link)
        if link in sought.members:
            return
        await asyncio.sleep(JOIN_WAIT_S)
        if link not in sought.members:  # a peer, but not one of this app
            sought.dialer.failed(address, time.monotonic())


@contextlib.contextmanager
def _logged(finder: PeerFinder, what: str) -> Iterator[None]:
    try:
        yield
    except (PearrtError, OSError) as e:
        log.debug("%s of %s: %s", what, type(finder).__name__, e)
