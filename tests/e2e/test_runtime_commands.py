"""`pearrt versions | update | rollback | pin` as installed by pip, and an app stepped back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pearrt.link import Link
from tests.support.machine import Machine, wait_for
from tests.support.team import Team, write_app

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]


def test_a_pearrt_that_pip_brought_says_so_and_keeps_what_it_is_told(machine: Machine) -> None:
    found = machine.ok("versions")
    assert (found["self_updating"], found["versions"], found["running"]) == (False, [], None)
    assert "installed by pip or a package" in machine.pearrt("versions").stdout
    assert machine.ok("pin", "1.2", "--channel", "beta", "--delay", "3d") == {
        "pin": "1.2",
        "channel": "beta",
        "delay_s": 259_200,
        "deferred_until": 0,
    }
    assert machine.ok("update", "--defer", "2h")["deferred_until"] > 0
    assert machine.ok("versions")["pin"] == "1.2"
    assert machine.ok("pin", "--off")["pin"] == ""
    for refused in (
        ("pin", "no version"),
        ("pin", "1.2", "--off"),
        ("update",),
        ("update", "--retry"),
        ("rollback",),
    ):
        assert machine.refused(*refused)["code"] == "user-error"
    assert machine.pearrt("update", "--defer", "soon").returncode == 2


def test_an_app_is_stepped_back_stays_there_and_comes_forward_when_asked(
    machine: Machine, new_lone_machine: Callable[..., Machine], tmp_path: Path
) -> None:
    team = Team(machine, tmp_path)
    machine.ok("daemon", "start")
    source = write_app(tmp_path / "app", "one")
    team.release(team.stage(source))
    host = "{}:{}".format(*machine.daemon.status()["address"])
    user = new_lone_machine(PEARRT_HOSTS=host)
    assert user.run(team.link) == "one\n"
    assert "no release of hello before" in user.refused("rollback", team.link)["message"]
    write_app(source, "two")
    team.release(team.stage(source), version="2.0")
    wait_for(lambda: user.info(team.link)["version"] == "2.0", "the update")
    assert user.run(team.link) == "two\n"

    stepped = user.ok("rollback", team.link)
    assert stepped == {"name": "hello", "version": "1.0", "left": "2.0"}
    assert user.run(team.link) == "one\n"
    user.daemon.launch(Link.parse(team.link))  # a start looks for newer releases
    assert user.run(team.link) == "one\n", "it came back by itself"
    assert user.run(team.link, options=("--yes", "--update")) == "two\n"
