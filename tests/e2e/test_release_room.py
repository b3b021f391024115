"""A release room: the request and all answers travel over pearrt, between daemons that know each other by the
room's link and a DHT alone. Nothing is copied by hand."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pearrt.crypto.keyfile import unlock
from pearrt.dht.items import MutableItem, sign_item
from pearrt.link import Link
from pearrt.publish.keys import find_key
from pearrt.publish.room import Room
from tests.support.machine import PEARRT, Machine
from tests.support.network import TestnetThread
from tests.support.team import PASSWORD, Team, write_app

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]


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


def planted(net: TestnetThread, *items: MutableItem) -> None:
    """Every node of the DHT holds these, whatever their signatures are worth."""
    for node in net.net.nodes:
        for each in node._sockets:
            for item in items:
                each.node.server.items._items[item.target] = (item, time.monotonic() + 600)


def seed_of(machine: Machine, name: str) -> bytes:
    return unlock(find_key(machine.home.keys, name), PASSWORD)


def test_what_others_leave_in_a_room_counts_for_nothing(
    team: Team, net: TestnetThread, new_machine: Callable[[], Machine], tmp_path: Path
) -> None:
    """Garbage by carol's own key, bob's answer under erin's, an item in dana's name that she never signed."""
    link = opened(team, tmp_path)["room"]
    room = Room.parse(Link.parse(link))
    carol, erin, dana = (seed_of(team.machine, name) for name in ("carol", "erin", "dana"))
    bob = signer_machine(team, new_machine(), "bob")
    answered(team, bob, "bob", link)
    stored = [
        each.node.server.items.get(target, time.monotonic())
        for node in net.net.nodes
        for each in node._sockets
        for target in list(each.node.server.items._items)
    ]
    bobs = next(item for item in stored if isinstance(item, MutableItem) and item.salt == room.salt)
    replayed = sign_item(erin, bobs.value, salt=room.salt, seq=2**40)
    forged = replace(sign_item(dana, bobs.value, salt=room.salt, seq=2**40), signature=bytes(64))
    planted(net, sign_item(carol, b"garbage", salt=room.salt, seq=2**40), replayed, forged)
    combined = team.machine.ok("release", "combine", link)
    assert combined["signatures"] == "1 of 2, waiting for alice, carol, dana or erin"
    assert combined["gathered"] == ["bob"]
    assert {each["signer"]: each["reason"] for each in combined["refused"]} == {
        "carol": "What lies there is no answer, or one of a later version of pearrt.",
        "erin": "The signature of targets 2 by erin is false.",
    }
    told = team.machine.pearrt("release", "combine", link)
    assert "Not counted: what carol posted to the room." in told.stderr
    by_hand = team.machine.ok("release", "review", link) and team.machine.ok(
        "release", "sign", link, "--no-post", *team.keys("alice"), "-o", tmp_path / "alice.answer"
    )
    assert by_hand["posted"] == 0
    done = team.machine.ok("release", "commit", link, tmp_path / "alice.answer")
    assert done["committed"]
    assert done["signed_by"] == ["alice", "bob"]


def test_a_new_app_is_signed_in_a_room_before_it_exists(
    new_machine: Callable[[], Machine], team: Team, tmp_path: Path
) -> None:
    signers = ",".join(str(team.machine.home.keys / f"{name}.pub") for name in ("alice", "bob"))
    words = ("app", "new", "--signers", signers, "--threshold", "2", "--room", "-o", tmp_path / "app.request")
    link = team.machine.ok(*words)["room"]
    assert team.machine.refused("release", "status", link[:-1])["code"] == "bad-link"
    bob = signer_machine(team, new_machine(), "bob")
    bob.ok("release", "review", link)
    bob.ok("release", "sign", link, "--post", *team.keys("bob"))
    team.machine.ok("release", "review", link)
    team.machine.ok("release", "sign", link, "--post", *team.keys("alice"))
    assert team.machine.ok("release", "commit", link)["committed"]
