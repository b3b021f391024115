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

    def answer(self) -> asyncio.Future[bytes]:
        """One more waits."""
        self.answers[:] = [answer for answer in self.answers if not answer.done()]
        self.answers.append(answer := asyncio.get_running_loop().create_future())
        return answer


class Questions:
    """What peers were asked and have not answered yet, by link, oldest first.

    A peer answers in order, whoever still waits. An answer that is to come is no older than what the peer has
    told so far, so those who ask the same in the meantime share it, and so do those who were waiting for
    leave to ask.
    """

    def __init__(self) -> None:
        self._open: dict[PeerLink, list[_Question]] = {}
        self._held: dict[PeerLink, list[_Question]] = {}  # not asked yet

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
            open_.append(question := self._take_held(link, first_root) or _Question(first_root))
        return question.answer()

    def next_answer(self, link: PeerLink, first_root: int) -> asyncio.Future[bytes]:
        """The answer to what the peer will be asked next, by whoever may; cancelled where it leaves."""
        held = self._held.setdefault(link, [])
        question = next((each for each in held if each.first_root == first_root), None)
        if question is None:
            held.append(question := _Question(first_root))
        return question.answer()

    def _take_held(self, link: PeerLink, first_root: int) -> _Question | None:
        held = self._held.get(link, [])
        question = next((each for each in held if each.first_root == first_root), None)
        if question is not None:
            held.remove(question)
        return question

    def answered(self, link: PeerLink, metadata: bytes) -> None:
        if open_ := self._open.get(link):
            for answer in open_.pop(0).answers:
                if not answer.done():
                    answer.set_result(metadata)

    def left(self, link: PeerLink) -> None:
        for question in (*self._open.pop(link, ()), *self._held.pop(link, ())):
            for answer in question.answers:
                answer.cancel()

    def close(self) -> None:
        for link in {*self._open, *self._held}:
            self.left(link)


async def offers(
    membership: Membership, first_root: int, most: int, timeout_s: float
) -> AsyncGenerator[Offer, None]:
    """As `Membership.offers`."""
    await membership.wait_for_peer(timeout_s)
    steps: dict[PeerLink, RootSteps] = {}  # of all who were asked
    unasked: set[PeerLink] = set()  # of these, who have more to say
    waiting: dict[asyncio.Future[bytes], PeerLink] = {}
    held: dict[asyncio.Future[bytes], PeerLink] = {}  # may not be asked now; the next to ask may be another
    given = 0
    deadline = time.monotonic() + timeout_s
    try:
        while given < most and (left := deadline - time.monotonic()) > 0:
            for link in membership.swarm.best_informed():
                if (link in steps and link not in unasked) or len(waiting) + given >= most:
                    continue
                step = steps.get(link) or RootSteps(first_root)
                if (answer := membership.ask_metadata(link, step.wanted)) is None:
                    if link not in held.values():
                        held[membership.next_answer(link, step.wanted)] = link
                    continue
                held = {other: its for other, its in held.items() if its is not link}
                steps[link] = step
                unasked.discard(link)
                waiting[answer] = link
            if not waiting:
                if given:
                    return
                if not held:
                    # Those here trust nothing yet, or left before they had answered, and will come back.
                    await membership.wait_for_another(left)
                    continue
            patience = PACE_CHECK_S if held else timeout_s / 3
            ready, _ = await asyncio.wait(
                {*waiting, *held}, timeout=min(left, patience), return_when=asyncio.FIRST_COMPLETED
            )
            if not ready and not held:
                most += len(waiting)  # silent: ask others besides
            for answer in ready:
                link = waiting.pop(answer) if answer in waiting else held.pop(answer)
                if answer.cancelled() or not answer.result():
                    continue
                if (
                    whole := _whole(steps.setdefault(link, RootSteps(first_root)), answer.result())
                ) is not None:
                    given += 1
                    yield Offer(link.peer_id, whole)
                else:
                    unasked.add(link)
    finally:
        for answer in (*waiting, *held):
            answer.cancel()


def _whole(steps: RootSteps, answer: bytes) -> bytes | None:
    """All that a peer has to say, once it has; what is no metadata is for the caller to judge."""
    try:
        return steps.take(answer)
    except RemoteError:
        return answer
