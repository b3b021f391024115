"""`examples/locker` in the sandbox on three machines: a thing outlives its app, its machine and a daemon."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.machine import PEARRT, Machine
from tests.support.team import Team

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]
LOCKER = Path(__file__).parents[2] / "examples" / "locker"


def run(machine: Machine, link: str, *args: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [*PEARRT, "run", "--yes", link, *args]
    return subprocess.run(
        command, env=machine.environ, input=given, capture_output=True, timeout=120, check=False
    )


def locker(machine: Machine, link: str, *args: str, given: bytes = b"") -> bytes:
    done = run(machine, link, *args, given=given)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_a_thing_outlives_its_app_its_machine_and_a_daemon(
    new_machine: Callable[[], Machine], tmp_path: Path
) -> None:
    first, second, third = (new_machine() for _ in range(3))
    team = Team(first, tmp_path)
    team.release(team.stage(LOCKER))
    thing = os.urandom(300_000)
    name = locker(first, team.link, "put", given=thing).decode().strip()
    assert locker(second, team.link, "get", name) == thing
    assert b" 0 blocks" in locker(second, team.link, "list")
    locker(second, team.link, "keep", name)
    assert locker(first, team.link, "drop", name) == b"It is no longer kept here.\n"
    second.stop()
    second.ok("daemon", "start")
    assert locker(third, team.link, "get", name) == thing
    assert second.ok("info", team.link)["keeps"]["shelf"] >= len(thing)
    second.ok("permissions", "revoke", team.link, "p2p")
    assert b"no permission p2p" in run(second, team.link, "get", name).stderr
