"""The commands of an audit, as a sceptical person would use them: log, verify, reproduce, attest."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pearrt.paths import Home
from tests.support.machine import Machine
from tests.support.team import Team, write_app

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]


@pytest.fixture
def machine(home: Home) -> Iterator[Machine]:
    machine = Machine(home, PEARRT_DHT="0")
    yield machine
    machine.stop()


def test_log_verify_reproduce_and_attest(machine: Machine, tmp_path: Path) -> None:
    team = Team(machine, tmp_path, threshold=2)
    source = write_app(tmp_path / "app", "one")
    team.release(team.stage(source), "alice", "bob")
    first = shutil.copytree(source, tmp_path / "first")
    write_app(source, "two")
    team.release(team.stage(source), "bob", "carol", version="2.0")
    machine.run(team.link)

    log = machine.ok("log", team.link)
    assert [entry["signed_by"] for entry in log["entries"]] == [
        ["alice", "bob"],
        ["alice", "bob"],
        ["bob", "carol"],
    ]
    shown = machine.pearrt("log", team.link).stdout
    assert "hello 1.0 (stable/any" in shown
    assert "signed by bob, carol (2 needed)" in shown

    verified = machine.ok("verify", team.link)
    assert (verified["sequence"], verified["signed_by"]) == (3, ["bob", "carol"])
    file = tmp_path / "app.pear"
    machine.ok("export", team.link, file)
    assert machine.ok("verify", file)["apps"][0]["threshold"] == 2
    machine.ok("dump", team.link, tmp_path / "dumped")
    assert machine.ok("verify", tmp_path / "dumped", "--link", team.link)["version"] == "2.0"
    (tmp_path / "dumped" / "hello.py").write_text("evil\n")
    assert machine.refused("verify", tmp_path / "dumped", "--link", team.link)["code"] == "digest-mismatch"
    assert machine.refused("verify", tmp_path / "dumped")["code"] == "user-error"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert machine.refused("verify", file)["code"] == "protocol-violation"

    assert machine.ok("reproduce", team.link, "--from", source)["outcome"] == "identical"
    other = machine.pearrt("reproduce", team.link, "--from", str(first))
    assert other.returncode == 4
    assert "ANOTHER bundle" in other.stdout
    assert "~ hello.py" in other.stdout

    sent = tmp_path / "alice.json"
    options = ("--from", source, "--output", sent, *team.keys("alice"))
    assert machine.ok("attest", team.link, *options)["same"]
    (kept,) = machine.ok("attest", team.link, "--list")
    assert (kept["signer"], kept["outcome"], kept["digest"]) == ("alice", "identical", verified["digest"])
    Path(machine.home.data / "attestations").rename(tmp_path / "elsewhere")
    assert machine.ok("attest", team.link, "--add", sent) == [kept]
    sent.write_bytes(sent.read_bytes().replace(b"ident", b"other"))
    assert machine.refused("attest", team.link, "--add", tmp_path / "none")["code"] == "user-error"
