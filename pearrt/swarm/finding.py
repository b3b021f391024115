"""Keeps one membership or circle supplied with peers: runs the finders, announces, dials. A shell around
`Dialer`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from pearrt.errors import PearrtError
from pearrt.peer.handshake import SelfConnection
from pearrt.peer.link import PeerLink
from pearrt.peer.service import PeerService
from pearrt.swarm.finders import PeerFinder, origin_of
from pearrt.swarm.scope import Address

if TYPE_CHECKING:
    from pearrt.swarm.dialer import Dialer, Origin


class Near(Protocol):
    """What is known of a peer that is here."""

    @property
    def near(self) -> bool: ...


class Sought(Protocol):
    """What peers are wanted for: an app's `Membership`, or a `Circle`."""

    topic: bytes
    dialer: Dialer
    dial_soon: asyncio.Event

    @property
    def members(self) -> Mapping[PeerLink, Near]: ...
    @property
    def ourselves(self) -> set[Address]: ...
    def add_peer(self, address: Address, origin: Origin) -> None: ...
    def peer_joined(self, link: PeerLink, channel: int, *, near: bool) -> None: ...
    def peer_left(self, link: PeerLink) -> None: ...


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
        membership: Sought,
        finders: Sequence[PeerFinder],
        peers: PeerService,
        on_dialled: Callable[[Sought, Address, PeerLink], None],
        is_banned: Callable[[bytes | None, str], bool],
    ) -> None:
        self._membership = membership
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
        membership = self._membership
        origin = origin_of(finder)
        while True:
            with _logged(finder, "find"):
                async for address in finder.find(membership.topic):
                    membership.add_peer(address, origin)
            enough = bool(membership.members)
            await asyncio.sleep(FIND_EVERY_S if enough else FIND_SOON_S)

    async def _announce(self, finder: PeerFinder) -> None:
        while True:
            places = 0
            if self._peers.addresses:
                with _logged(finder, "announce"):
                    places = await finder.announce(self._membership.topic, self._peers.address[1])
            await asyncio.sleep(ANNOUNCE_EVERY_S if places else ANNOUNCE_AGAIN_S)

    async def _dial(self, group: asyncio.TaskGroup) -> None:
        membership = self._membership
        while True:
            membership.dial_soon.clear()
            now = time.monotonic()
            for address in self._due(now):
                if self._is_banned(None, address[0]):
                    membership.dialer.forget(address)
                else:
                    group.create_task(self._connect(address))
            due = membership.dialer.next_due()
            wait = FIND_EVERY_S if due is None else min(max(due - now, 0.2), FIND_EVERY_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await membership.dial_soon.wait()

    def _due(self, now: float) -> list[Address]:
        members = self._membership.members
        near = sum(member.near for member in members.values())
        return self._membership.dialer.due(len(members), near, now)

    async def _connect(self, address: Address) -> None:
        membership = self._membership
        try:
            link = await self._peers.connect(address)
        except SelfConnection:
            membership.ourselves.add(address)
            membership.dialer.forget(address)
            return
        except PearrtError as e:
            log.debug("dialling %s:%d: %s", *address, e)
            membership.dialer.failed(address, time.monotonic())
            return
        finally:
            membership.dial_soon.set()
        self._on_dialled(membership, address, link)
        if link in membership.members:
            return
        await asyncio.sleep(JOIN_WAIT_S)
        if link not in membership.members:  # a peer, but not one of this app
            membership.dialer.failed(address, time.monotonic())


@contextlib.contextmanager
def _logged(finder: PeerFinder, what: str) -> Iterator[None]:
    try:
        yield
    except (PearrtError, OSError) as e:
        log.debug("%s of %s: %s", what, type(finder).__name__, e)
