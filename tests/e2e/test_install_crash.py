"""kill -9 of the daemon at random points of an update: what runs afterwards is the old release or the new
one, whole."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pearrt.errors import PearrtError
from pearrt.link import Link
from tests.support.machine import Machine
from tests.support.team import Team, write_app

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]

ROUNDS = 6


@pytest.fixture
def pair(new_lone_machine: Callable[[], Machine]) -> tuple[Machine, Machine]:
    return new_lone_machine(), new_lone_machine()


def test_a_killed_update_leaves_the_old_release_or_the_new(
    pair: tuple[Machine, Machine], tmp_path: Path
) -> None:
    publisher, user = pair
    team = Team(publisher, tmp_path, threshold=1)
    source = write_app(tmp_path / "app", "0", data=os.urandom(2 << 20))
    team.release(team.stage(source), "alice", version="0")
    host = "{}:{}".format(*publisher.daemon.status()["address"])
    link = Link.parse(f"{team.link}?node={host}")
    assert user.run(str(link)) == "0\n"
    rng = random.Random(7)
    for number in range(1, ROUNDS + 1):
        write_app(source, str(number), data=os.urandom(2 << 20))
        team.release(team.stage(source), "alice", version=str(number))
        updating = threading.Thread(target=_update, args=(user, link))
        user.ok("daemon", "start")
        updating.start()
        time.sleep(rng.uniform(0, 0.25))
        user.kill()
        updating.join()
        said = user.run(str(link), options=("--yes",)).strip()
        assert said in (str(number - 1), str(number)), "neither the old release nor the new one"
        assert user.ok("verify", str(link))["differences"] == []
        _update(user, link)
        assert user.run(str(link)).strip() == str(number)
    assert user.ok("gc", "--fsck")["dropped"] == 0


def _update(machine: Machine, link: Link) -> None:
    try:
        machine.daemon.install(link, lambda _: None, update=True)
    except PearrtError:
        return
