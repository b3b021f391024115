"""A release room: the request and all answers travel over pearrt, between daemons that know each other by the
room's link and a DHT alone. Nothing is copied by hand."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pearrt.paths import Home
from tests.support.machine import PEARRT, Machine
from tests.support.network import TestnetThread
from tests.support.team import Team, write_app

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]


@pytest.fixture
def net() -> Iterator[TestnetThread]:
    with TestnetThread(6) as net:
        yield net


@pytest.fixture
def new_machine(new_home: Callable[[], Home], net: TestnetThread) -> Iterator[Callable[[], Machine]]:
    machines: list[Machine] = []

    def make() -> Machine:
        machines.append(Machine(new_home(), net.bootstrap))
        return machines[-1]

    yield make
    for machine in machines:
        machine.stop()


@pytest.fixture
def team(new_machine: Callable[[], Machine], tmp_path: Path) -> Team:
    """The publisher's machine; two of the five release."""
    return Team(new_machine(), tmp_path, threshold=2)


def signer_machine(team: Team, machine: Machine, name: str) -> Machine:
    """A machine of one signer's own, who holds their key and nobody else's."""
    machine.home.prepare()
    machine.home.keys.mkdir(exist_ok=True)
    for path in team.machine.home.keys.glob(f"{name}.*"):
        shutil.move(path, machine.home.keys / path.name)
    return machine


def opened(team: Team, tmp_path: Path, text: str = "one") -> dict[str, Any]:
    """A release that was asked for in a room."""
    digest = team.stage(write_app(tmp_path / "app", text))
    words = ("release", "request", team.link, digest, "--version", text, "--room")
    asked: dict[str, Any] = team.machine.ok(*words, "-o", tmp_path / f"{text}.request")
    return asked


def answered(team: Team, machine: Machine, name: str, room: str) -> dict[str, Any]:
    """Review and signature by the link alone."""
    reviewed = machine.ok("release", "review", room)
    signed = machine.ok("release", "sign", room, "--post", *team.keys(name))
    assert signed["fingerprint"] == reviewed["fingerprint"]
    assert signed["file"] is None
    assert signed["posted"] > 0
    return reviewed


def test_signers_join_by_link_and_the_release_is_out(
    team: Team, new_machine: Callable[[], Machine], tmp_path: Path
) -> None:
    asked = opened(team, tmp_path)
    room = asked["room"]
    assert room.startswith(team.link)
    (tmp_path / "one.request").unlink()
    alice, bob = (signer_machine(team, new_machine(), name) for name in ("alice", "bob"))
    assert answered(team, alice, "alice", room)["releases"][0]["source"] == "peers"
    status = team.machine.ok("release", "status", room)[0]
    assert status["signatures"] == "1 of 2, waiting for bob, carol, dana or erin"
    assert team.machine.refused("release", "commit", room)["code"] == "threshold-not-met"
    waiting = subprocess.Popen(
        [*PEARRT, "release", "commit", room, "--wait"],
        env=team.machine.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    answered(team, bob, "bob", room)
    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, err
    assert "published, signed by alice, bob" in out
    assert alice.run(team.link) == "one\n"
    assert team.machine.ok("release", "status", room)[0]["state"] == "published"
