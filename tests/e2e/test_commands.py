"""Every command once, as a script would call it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.machine import Machine
from tests.support.team import NAMES, Team, write_app

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]


@pytest.fixture
def machine(new_machine: Callable[[], Machine]) -> Machine:
    return new_machine()


@pytest.fixture
def team(machine: Machine, team: Team, tmp_path: Path) -> Team:
    team.release(team.stage(write_app(tmp_path / "app")), "alice")
    machine.run(team.link)
    return team


def test_keys(machine: Machine, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("a long password\n")
    made = machine.ok("keys", "new", "zoe", "--password-file", str(password), "--comment", "Zoe")
    assert made["public"].endswith(" Zoe")
    assert Path(made["file"]).stat().st_mode & 0o777 == 0o600
    assert machine.ok("keys", "list") == [made]
    assert machine.ok("keys", "show", "zoe")["public"] == made["public"]
    assert machine.refused("keys", "new", "zoe", "--password-file", str(password))["code"] == "user-error"
    assert machine.refused("keys", "show", "nobody")["code"] == "user-error"


def test_a_wrong_password_signs_nothing(machine: Machine, team: Team, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not the password\n")
    digest = team.stage(write_app(tmp_path / "app", "changed"))
    options = ("--key", "alice", "--password-file", str(wrong))
    assert machine.refused("release", "publish", team.link, digest, *options)["code"] == "user-error"
    assert machine.info(team.link)["newest"] == "1.0"


def test_app_list_and_solo(machine: Machine, team: Team) -> None:
    solo = machine.ok("app", "new", "--solo", *team.keys("bob"))["link"]
    listed = {app["link"]: app for app in machine.ok("app", "list")}
    assert set(listed[team.link]["signers"]) == set(NAMES)
    assert listed[solo]["threshold"] == 1


def test_signers_are_named_by_their_pub_files_as_the_readme_says(machine: Machine, team: Team) -> None:
    signers = "alice.pub,bob.pub,carol.pub"
    made = machine.ok("app", "new", "--signers", signers, "--threshold", "2", *team.keys("alice", "bob"))
    assert made["threshold"] == 2
    assert len(made["signers"]) == 3


def test_dump_writes_files_and_metadata(machine: Machine, team: Team, tmp_path: Path) -> None:
    machine.ok("dump", team.link, str(tmp_path / "files"))
    assert "hello from the app" in (tmp_path / "files" / "hello.py").read_text()
    machine.ok("dump", "--metadata", team.link, str(tmp_path / "metadata"))
    names = {path.name for path in (tmp_path / "metadata").iterdir()}
    assert names == {"1.root.json", "timestamp.json", "snapshot.json", "targets.json"}
    assert machine.refused("dump", team.link, str(tmp_path / "files"))["code"] == "user-error"


def test_seed_and_stop(machine: Machine, team: Team) -> None:
    assert machine.ok("seed", team.link)["seeding"] is True
    assert machine.ok("list")[0]["seeding"] is True
    assert machine.ok("seed", "--stop", team.link)["seeding"] is False
    assert machine.ok("list")[0]["seeding"] is False


def test_gc_keeps_what_is_installed(machine: Machine, team: Team) -> None:
    assert machine.ok("gc", "--dry-run")["removed"] == 0
    checked = machine.ok("gc", "--fsck")
    assert (checked["removed"], checked["dropped"]) == (0, 0)
    assert checked["checked"] > 0


def test_dht_commands(machine: Machine) -> None:
    put = machine.ok("dht", "put", "some value")
    assert put["stored"] > 0
    assert machine.ok("dht", "get", put["target"])["value"] == "some value"
    assert machine.ok("dht", "announce", "ab" * 20, "7000")["stored"] > 0
    found = machine.ok("dht", "lookup", "ab" * 20)
    assert "127.0.0.1:7000" in found["peers"]
    assert found["nodes"]
    assert machine.refused("dht", "get", "cd" * 20)["code"] == "no-peers"


def test_doctor_says_what_holds(machine: Machine) -> None:
    report = machine.ok("doctor")
    assert report["tier"] in ("A", "B")
    assert {layer["name"] for layer in report["layers"]} >= {"bubblewrap", "filter", "landlock"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(machine: Machine, shell: str) -> None:
    done = machine.pearrt("completion", shell)
    assert done.returncode == 0
    assert "_PEARRT_COMPLETE" in done.stdout


def test_a_staged_folder_has_one_digest_wherever_it_lies(machine: Machine, tmp_path: Path) -> None:
    options = ("--name", "x", "--version", "1", "--entry", "hello:main")
    digests = set()
    for place in ("here", "there/deeper"):
        folder = write_app(tmp_path / place)
        (folder / "pyproject.toml").touch()
        digests.add(machine.ok("stage", str(folder), *options)["digest"])
    assert len(digests) == 1


def test_stdout_stays_clean_for_pipes(machine: Machine, team: Team) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m pearrt run {team.link} a b | tr a-z A-Z', sys.executable],
        env=machine.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "HELLO FROM THE APP A B\n"


def test_a_wrong_command_line_is_an_envelope_too(machine: Machine) -> None:
    assert machine.refused("info", "nonsense")["code"] == "user-error"
    assert machine.refused("nonsense")["code"] == "user-error"
    done = machine.pearrt("info", "nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'nonsense' is no link" in done.stderr
