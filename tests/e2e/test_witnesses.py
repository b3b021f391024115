"""An app with two witnesses: what they have not seen runs nowhere, and they see one history only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pearrt.bundle.pear_file import write_pear
from pearrt.link import Link
from pearrt.publish.keys import new_key
from pearrt.publish.publication import Publication
from tests.support.machine import Machine
from tests.support.team import CHEAP, PASSWORD, Team, write_app

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]


class Office:
    """alice releases; wim and xia, each on a machine of their own, have to see it."""

    def __init__(self, new_machine: Callable[[], Machine], work: Path) -> None:
        self.work = work
        self.machine = new_machine()
        self.witnesses = {name: new_machine() for name in ("wim", "xia")}
        options = []
        for name, machine in self.witnesses.items():
            public = new_key(machine.home.keys, name, PASSWORD, cost=CHEAP)
            options += ["--witness", f"{name}={str(public).split()[0]}"]
        self.team = Team(self.machine, work, 1, *options)
        self.link = self.team.link
        self.publication = self.machine.home.publishing / Link.parse(self.link).key_text

    def commit(self, text: str) -> dict[str, Any]:
        """A signed release of an app that prints `text`, and the file for the witnesses."""
        digest = self.team.stage(write_app(self.work / "app", text))
        words = ["release", "publish", self.link, digest, "--version", text, *self.team.keys("alice")]
        self.machine.ok(*words)
        waits: dict[str, Any] = self.machine.ok(
            "release", "witness", self.link, "-o", self.work / f"{text}.witness"
        )
        return waits

    def asks(self, name: str, file: str) -> tuple[str | Path, ...]:
        return "witness", file, "--key", name, "--password-file", self.team.password_file

    def sees(self, name: str, file: str) -> dict[str, Any]:
        (seen,) = self.witnesses[name].ok(*self.asks(name, file))
        return dict(seen)


def test_nothing_runs_that_the_witnesses_did_not_see_and_they_refuse_a_fork(
    new_machine: Callable[[], Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where commands put files for which no name was given
    office, user = Office(new_machine, tmp_path), new_machine()
    waits = office.commit("one")
    assert (waits["committed"], waits["awaited"]) == (False, ["wim", "xia"])
    assert not Publication.open(office.publication).trusted.releases
    assert "waiting for wim or xia" in office.machine.pearrt("app", "list").stdout
    assert office.sees("wim", waits["file"])["releases"] == ["hello one (stable/any)"]
    seen = [office.sees(name, waits["file"]) for name in ("wim", "xia")]
    half = office.machine.ok("release", "witness", office.link, seen[0]["answer"])
    assert (half["seen_by"], half["awaited"]) == (["wim"], ["xia"])
    done = office.machine.ok("release", "witness", office.link, seen[1]["file"])
    assert (done["committed"], done["witnesses"]) == (True, ["wim", "xia"])

    assert user.run(office.link) == "one\n"
    assert user.info(office.link)["witnesses"]["seen_by"] == ["wim", "xia"]
    assert "2 of 2: wim, xia; seen by wim, xia" in user.pearrt("info", office.link).stdout
    assert "witnesses: wim, xia (2 needed)" in user.pearrt("log", office.link).stdout

    # Every key of the team and its heartbeat are stolen: still nobody can be given what no witness saw.
    secret = office.commit("secret")
    waiting = Publication.open(office.publication).waiting
    assert waiting is not None
    pear = tmp_path / "secret.pear"
    key = Link.parse(office.link).app_key
    write_pear(pear, [office.link], {key: waiting.metadata.encode()}, [])
    assert user.refused("import", pear)["code"] == "threshold-not-met"
    assert user.run(office.link) == "one\n"

    # One witness is shown it; whatever is released instead, that one sees two histories.
    office.sees("wim", secret["file"])
    office.machine.ok("release", "witness", office.link, "--drop")
    other = office.commit("two")
    refused = office.witnesses["wim"].refused(*office.asks("wim", other["file"]))
    assert refused["code"] == "equivocation"
    folder = office.witnesses["wim"].home.data / "witness" / Link.parse(office.link).key_text
    (evidence,) = (folder / "refused").iterdir()
    assert evidence.read_bytes() == Path(other["file"]).read_bytes()
    assert office.witnesses["xia"].refused(*office.asks("wim", other["file"]))["code"] == "user-error"
