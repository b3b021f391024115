"""Sneakernet with the commands: a machine without any network runs an app out of a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pearrt.runtime import state as states
from pearrt.runtime.layout import RuntimeFolder
from tests.support.machine import Machine
from tests.support.team import Team, write_app

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]


def test_an_app_runs_out_of_a_file_without_any_network(
    new_lone_machine: Callable[[], Machine], tmp_path: Path
) -> None:
    publisher, alone = new_lone_machine(), new_lone_machine()
    team = Team(publisher, tmp_path, threshold=1)
    team.release(team.stage(write_app(tmp_path / "app", "one")), "alice")
    file = tmp_path / "app.pear"
    assert publisher.ok("export", team.link, file)["version"] == "1.0"
    error = publisher.refused("export", "--with-runtime", team.link, file)
    assert (error["code"], "--with-runtime" in error["hint"]) == ("user-error", True)

    assert alone.run(str(file), "a", "--flag") == "one a --flag\n"
    assert alone.run(team.link) == "one\n"  # by its link, too, from now on

    team.release(team.stage(write_app(tmp_path / "app", "two")), "alice", version="2.0")
    publisher.ok("export", team.link, file)
    assert alone.run(str(file)) == "two\n"
    assert alone.ok("import", "--seed", file)["version"] == "2.0"
    assert alone.info(team.link)["seeding"]

    runtime = publisher.ok("app", "new", "--solo", *team.keys("bob"))["link"]
    digest = team.stage(write_app(tmp_path / "runtime", "runtime"))
    publisher.ok("release", "publish", runtime, digest, *team.keys("bob"))
    folder = RuntimeFolder(publisher.home.data)
    folder.edit(lambda state: states.install(state, runtime, digest, "1.0"))
    assert publisher.ok("export", "--with-runtime", team.link, file)["links"] == [team.link, runtime]
    assert alone.ok("import", file)["apps"] == [team.link, runtime]
    listed = {app["link"]: app["version"] for app in alone.ok("list")}
    assert listed == {team.link: "2.0", runtime: None}  # ready to be installed, which is pearrt's own affair

    file.write_bytes(file.read_bytes()[:-100])
    assert alone.refused("import", file)["code"] == "protocol-violation"
    assert alone.refused("run", "--yes", tmp_path / "none.pear")["code"] == "user-error"
