"""Asking an app's peers for its metadata: several, so that one that withholds the newest is outvoted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pearrt.errors import RemoteError
from pearrt.trust.root_steps import RootSteps

if TYPE_CHECKING:
    from pearrt.peer.link import PeerLink
    from pearrt.swarm.membership import Membership


PACE_CHECK_S = 0.25  # while everybody was asked as often as they have to bear


@dataclass(frozen=True, slots=True)
class Offer:
    """Metadata as one peer gave it, unverified."""

    peer_id: bytes
    metadata: bytes


@dataclass(eq=False, slots=True)
class _Question:
    first_root: int
    answers: list[asyncio.Future[bytes]] = field(default_factory=list)  # one for each who waits


class Questions:
    """What peers were asked and have not answered yet, by link, oldest first.

    A peer answers in order, whoever still waits. An answer that is to come is no older than what the peer has
    told so far, so those who ask the same in the meantime share it.
    """

    def __init__(self) -> None:
        self._open: dict[PeerLink, list[_Question]] = {}

    def asked(
        self, link: PeerLink, first_root: int, send: Callable[[], bool]
    ) -> asyncio.Future[bytes] | None:
        """The answer to come; cancelled where the peer leaves. None where `send`, which is called unless the
        same question is open, asks nothing."""
        open_ = self._open.setdefault(link, [])
        question = next((each for each in open_ if each.first_root == first_root), None)
        if question is None:
            if not send():
                return None
            open_.append(question := _Question(first_root))
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        question.answers.append(answer)
        return answer

    def answered(self, link: PeerLink, metadata: bytes) -> None:
        if open_ := self._open.get(link):
            for answer in open_.pop(0).answers:
                if not answer.done():
                    answer.set_result(metadata)

    def left(self, link: PeerLink) -> None:
        for question in self._open.pop(link, ()):
            for answer in question.answers:
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
    unasked: set[PeerLink] = set()  # of these, who have more to say
    waiting: dict[asyncio.Future[bytes], PeerLink] = {}
    given = 0
    deadline = time.monotonic() + timeout_s
    try:
        while given < most and (left := deadline - time.monotonic()) > 0:
            paced = False
            for link in membership.swarm.best_informed():
                if (link in steps and link not in unasked) or len(waiting) + given >= most:
                    continue
                step = steps.get(link) or RootSteps(first_root)
                if (answer := membership.ask_metadata(link, step.wanted)) is None:
                    paced = True
                    continue
                steps[link] = step
                unasked.discard(link)
                waiting[answer] = link
            if not waiting:
                if given:
                    return
                # Those here trust nothing yet, or left before they had answered, and will come back.
                await membership.wait_for_another(min(left, PACE_CHECK_S) if paced else left)
                continue
            patience = PACE_CHECK_S if paced else timeout_s / 3
            ready, _ = await asyncio.wait(
                waiting, timeout=min(left, patience), return_when=asyncio.FIRST_COMPLETED
            )
            if not ready and not paced:
                most += len(waiting)  # silent: ask others besides
            for answer in ready:
                link = waiting.pop(answer)
                if answer.cancelled() or not answer.result():
                    continue
                if (whole := _whole(steps[link], answer.result())) is not None:
                    given += 1
                    yield Offer(link.peer_id, whole)
                else:
                    unasked.add(link)
    finally:
        for answer in waiting:
            answer.cancel()


def _whole(steps: RootSteps, answer: bytes) -> bytes | None:
    """All that a peer has to say, once it has; what is no metadata is for the caller to judge."""
    try:
        return steps.take(answer)
    except RemoteError:
        return answer
