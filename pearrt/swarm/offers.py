"""Asking an app's peers for its metadata: several, so that one that withholds the newest is outvoted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pearrt.errors import RemoteError
from pearrt.trust.root_steps import RootSteps

if TYPE_CHECKING:
    from pearrt.peer.link import PeerLink
    from pearrt.swarm.membership import Membership


@dataclass(frozen=True, slots=True)
class Offer:
    """Metadata as one peer gave it, unverified."""

    peer_id: bytes
    metadata: bytes


class Questions:
    """What peers were asked and have not answered yet, by link, in the order in which they were asked."""

    def __init__(self) -> None:
        self._open: dict[PeerLink, list[asyncio.Future[bytes]]] = {}

    def asked(self, link: PeerLink) -> asyncio.Future[bytes]:
        """The answer to come; cancelled where the peer leaves."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._open.setdefault(link, []).append(answer)
        return answer

    def answered(self, link: PeerLink, metadata: bytes) -> None:
        answers = self._open.get(link, [])
        while answers:
            answer = answers.pop(0)
            if not answer.done():
                answer.set_result(metadata)
                return

    def left(self, link: PeerLink) -> None:
        for answer in self._open.pop(link, ()):
            answer.cancel()

    def close(self) -> None:
        for link in list(self._open):
            self.left(link)


async def offers(
    membership: Membership, first_root: int, most: int, timeout_s: float
) -> AsyncGenerator[Offer, None]:
    """As `Membership.offers`."""
    await membership.wait_for_peer(timeout_s)
    steps: dict[PeerLink, RootSteps] = {}  # of all who were asked
    waiting: dict[asyncio.Future[bytes], PeerLink] = {}
    given, clueless = 0, False  # clueless: somebody is here who trusts nothing yet
    deadline = time.monotonic() + timeout_s
    try:
        while given < most and (left := deadline - time.monotonic()) > 0:
            for link in membership.swarm.best_informed():
                if link not in steps and len(waiting) + given < most:
                    steps[link] = RootSteps(first_root)
                    waiting[membership.ask_metadata(link, first_root)] = link
            if not waiting:
                if given or not clueless:
                    return
                await membership.wait_for_another(left)
                continue
            ready, _ = await asyncio.wait(
                waiting, timeout=min(left, timeout_s / 3), return_when=asyncio.FIRST_COMPLETED
            )
            if not ready:
                most += len(waiting)  # silent: ask others besides
            for answer in ready:
                link = waiting.pop(answer)
                if answer.cancelled():
                    continue
                if not answer.result():
                    clueless = True
                elif (whole := _whole(steps[link], answer.result())) is not None:
                    given += 1
                    yield Offer(link.peer_id, whole)
                elif link in membership.members:
                    waiting[membership.ask_metadata(link, steps[link].wanted)] = link
    finally:
        for answer in waiting:
            answer.cancel()


def _whole(steps: RootSteps, answer: bytes) -> bytes | None:
    """All that a peer has to say, once it has; what is no metadata is for the caller to judge."""
    try:
        return steps.take(answer)
    except RemoteError:
        return answer
