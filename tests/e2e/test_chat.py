"""Two machines talk in `examples/chat`; a third that runs the same app at another table learns nothing."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.machine import PEARRT, Machine
from tests.support.team import Team

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]
CHAT = Path(__file__).parents[2] / "examples" / "chat"


@pytest.fixture
def machines(new_machine: Callable[[], Machine]) -> list[Machine]:
    return [new_machine() for _ in range(3)]


class Guest:
    """`pearrt run` of the chat with a person who types."""

    def __init__(self, machine: Machine, link: str, *table: str) -> None:
        self.process = subprocess.Popen(
            [*PEARRT, "run", "--yes", link, *table],
            env=machine.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.seen = ""

    def says(self, text: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def hears(self, text: str, timeout_s: float = 40) -> None:
        deadline = time.monotonic() + timeout_s
        while text not in self.seen:
            assert self.reads(deadline), f"{text!r} is not in {self.seen!r}"

    def reads(self, deadline: float) -> bool:
        assert self.process.stdout
        if not select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return False
        data = os.read(self.process.stdout.fileno(), 4096)
        self.seen += data.decode()
        return bool(data)

    def goes(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        self.process.stdout.close()

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def test_two_talk_and_a_third_at_another_table_learns_nothing(
    machines: list[Machine], tmp_path: Path
) -> None:
    team = Team(machines[0], tmp_path, threshold=1)
    team.release(team.stage(CHAT), "alice")
    one, two, other = machines
    with Guest(one, team.link, "the", "long", "table") as ann:
        ann.hears("You are at the table 'the long table'")
        with Guest(two, team.link, "the", "long", "table") as bob, Guest(other, team.link, "lobby") as eve:
            eve.hears("You are at the table 'lobby'")
            ann.hears("has come")
            bob.hears("has come")
            eve.says("is anybody here?")
            ann.says("hello from ann")
            bob.hears(": hello from ann")
            bob.says("bob\x1b[2J here")
            ann.hears(": bob\N{REPLACEMENT CHARACTER}[2J here")
            eve.reads(time.monotonic() + 0.3)
            assert eve.seen.count("\n") == 1
            assert "anybody" not in ann.seen + bob.seen
            bob.goes()
            ann.hears("has gone")
            machines[0].ok("permissions", "revoke", team.link, "p2p")
            ann.hears("took the permission p2p back")
            eve.goes()
        ann.goes()
