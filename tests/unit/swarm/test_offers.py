"""Asking peers for metadata: whose answer is whose, how often, and what a connection that ends costs."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from pearrt.peer.link import PeerLink
from pearrt.swarm.member import Member
from pearrt.swarm.offers import Questions
from tests.support.swarm_apps import FakeApp, running_peer

LINK: PeerLink = object()  # type: ignore[assignment]


def member(now: float) -> Member:
    return Member(peer_id=b"", channel=1, host="127.0.0.1", listen=None, near=True, now=now)


async def test_an_answer_goes_to_the_question_it_answers_although_nobody_waits_any_more() -> None:
    questions = Questions()
    first = questions.asked(LINK, 1, lambda: True)
    second = questions.asked(LINK, 2, lambda: True)
    assert first is not None
    assert second is not None
    first.cancel()
    questions.answered(LINK, b"from root 1 on")
    assert not second.done()
    questions.answered(LINK, b"from root 2 on")
    assert second.result() == b"from root 2 on"


async def test_who_asks_the_same_while_an_answer_is_due_shares_it() -> None:
    questions, sent = Questions(), []
    answers = [questions.asked(LINK, 1, lambda: not sent.append(1)) for _ in range(3)]  # type: ignore[func-returns-value]
    questions.answered(LINK, b"signed")
    assert sent == [1]
    assert [answer.result() for answer in answers if answer] == [b"signed"] * 3


async def test_what_may_not_be_asked_now_leaves_no_question_open() -> None:
    questions = Questions()
    assert questions.asked(LINK, 1, lambda: False) is None
    asked = questions.asked(LINK, 2, lambda: True)
    questions.answered(LINK, b"signed")
    assert asked is not None
    assert asked.result() == b"signed"


def test_nobody_who_asks_as_often_as_it_may_is_taken_for_a_flood() -> None:
    """However the questions bunch up on the way: all of the last `delay` seconds may arrive at once."""
    ours = member(0.0).asks
    asked = [now for now in (tick / 10 for tick in range(6000)) if ours.take(now)]
    assert len(asked) > 12
    for delay in (0.0, 5.0):
        arrivals = [max(now, delay * (int(now / delay) + 1)) if delay else now for now in asked]
        allowance = member(0.0).questions
        assert all(allowance.take(at) for at in arrivals), delay


async def test_a_link_that_ends_in_the_middle_of_a_question_comes_back_and_answers(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:

        class Breaking(FakeApp):
            def metadata_from(self, first_root: int) -> bytes | None:
                if not self.asked:
                    a.peers.links[0].close("made way")
                return super().metadata_from(first_root)

        app = Breaking(current=b"1")
        app.metadata = b"signed"
        await a.swarm.join(app)
        asker = await b.meet(a)
        assert await asker.metadata(3) == b"3:signed"
        assert app.asked == 2


async def test_many_who_ask_at_once_are_one_question_and_no_offence(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        app = FakeApp(current=b"1")
        app.metadata = b"signed"
        await a.swarm.join(app)
        asker = await b.meet(a)
        await asker.wait_for_peer(5)
        assert await asyncio.gather(*(asker.metadata() for _ in range(50))) == [b"1:signed"] * 50
        assert len(asker.peers) == 1


async def test_an_app_that_is_joined_again_while_it_is_being_left_stays_joined(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        await a.swarm.join(FakeApp())
        first = await b.meet(a)
        await first.wait_for_peer(5)
        leaving = asyncio.create_task(first.leave())
        await asyncio.sleep(0)
        second = await b.swarm.join(FakeApp())
        await leaving
        await second.wait_for_peer(5)
        assert second is not first


async def test_a_service_ends_although_joining_an_app_failed(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        await a.swarm.join(FakeApp("other"))
        other = await b.swarm.join(FakeApp("other"))
        other.add_peer(a.address)
        await other.wait_for_peer(5)
        for session in b.swarm._sessions.values():
            session.topics.offer = _refuse  # type: ignore[method-assign, assignment]
        with pytest.raises(OverflowError):
            await b.swarm.join(FakeApp())
        assert [each.topic for each in b.swarm.memberships] == [other.topic]


def _refuse(*_: object, **__: object) -> None:
    raise OverflowError


async def test_those_who_wait_for_leave_to_ask_share_the_next_answer(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        app = FakeApp(current=b"1")
        app.metadata = b"signed"
        await a.swarm.join(app)
        asker = await b.meet(a)
        await asker.wait_for_peer(5)
        (asked_of,) = asker.members.values()
        while asked_of.asks.take(time.monotonic()):
            pass  # as often as it may for now
        waiting = []
        for _ in range(8):
            waiting.append(asyncio.create_task(asker.metadata()))
            await asyncio.sleep(0.03)
        assert await asyncio.gather(*waiting) == [b"1:signed"] * 8
        assert app.asked <= 2
