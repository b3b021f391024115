"""Requests with real daemons: variants for platforms, channels with signers of their own, promotion, and a
commit that was killed before the daemon heard of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pearrt.app.drafting import Terms, draft_release
from pearrt.crypto.keyfile import unlock
from pearrt.link import Link
from pearrt.platform_tag import platform_tag
from pearrt.publish.ceremony import collect
from pearrt.publish.commit import commit
from pearrt.publish.desk import Desk
from pearrt.publish.publication import Publication
from pearrt.publish.request import Request
from pearrt.publish.signers import SeedKey, answer
from tests.support.machine import Machine, wait_for
from tests.support.team import PASSWORD, Team, write_app

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]


def agree(team: Team, path: Path, *names: str) -> dict[str, Any]:
    """Review, sign, commit."""
    team.machine.ok("release", "review", path)
    answers = []
    for name in names:
        target = path.with_suffix(f".{name}")
        team.machine.ok("release", "sign", path, *team.keys(name), "-o", target)
        answers.append(target)
    done: dict[str, Any] = team.machine.ok("release", "commit", path, *answers)
    return done


def test_variants_of_a_release_are_requested_reviewed_and_published_together(
    machine: Machine, team: Team, tmp_path: Path
) -> None:
    digests = []
    for platform in ("any", platform_tag()):
        folder = write_app(tmp_path / platform, f"for {platform}")
        project = folder / "pyproject.toml"
        project.write_text(project.read_text() + f'platform = "{platform}"\n')
        digests.append(team.stage(folder))
    path = tmp_path / "hello.request"
    asked = machine.ok("release", "request", team.link, *digests, "--security", "-o", path)
    assert sorted(asked["offered"]) == sorted(digests)
    reviewed = machine.ok("release", "review", path)
    assert [each["path"] for each in reviewed["releases"]] == ["stable/any", f"stable/{platform_tag()}"]
    assert agree(team, path, "bob")["committed"]
    assert machine.run(team.link) == f"for {platform_tag()}\n"


def test_a_channel_gets_signers_of_its_own_and_its_release_is_promoted(
    machine: Machine, team: Team, tmp_path: Path
) -> None:
    team.release(team.stage(write_app(tmp_path / "app", "one")), "alice")
    path = tmp_path / "channel.request"
    machine.ok("release", "channel", team.link, "beta", "--signers", "erin", "--threshold", "1", "-o", path)
    agree(team, path, "alice", "erin")
    path = tmp_path / "beta.request"
    digest = team.stage(write_app(tmp_path / "app", "two"))
    machine.ok("release", "request", team.link, digest, "--channel", "beta", "--version", "2.0b1", "-o", path)
    refused = machine.refused("release", "sign", path, *team.keys("bob"), "--blind", "--words", "no")
    assert refused["code"] == "user-error"
    agree(team, path, "erin")
    assert machine.info(team.link)["newest"] == "1.0"
    path = tmp_path / "promote.request"
    machine.ok("release", "promote", team.link, "beta", "stable", "-o", path)
    agree(team, path, "alice")
    assert machine.run(team.link) == "two\n"


def test_what_was_committed_while_no_daemon_heard_of_it_is_published_at_the_next_start(
    machine: Machine, team: Team, tmp_path: Path
) -> None:
    """As after a kill between the two halves of `release commit`."""
    team.release(team.stage(write_app(tmp_path / "app", "one")), "alice")
    digest = team.stage(write_app(tmp_path / "app", "two"))
    machine.stop()
    key = Link.parse(team.link).app_key
    trusted = Publication.open(machine.home.publishing / Link(key).key_text).trusted
    draft = draft_release(trusted, machine.home, [digest], Terms(version="2.0"), time.time())
    request = Request.of(trusted, draft)
    seed = unlock(machine.home.keys / "alice.key", PASSWORD)
    request = collect(request, [answer(request, SeedKey(seed))])
    assert commit(request, machine.home.publishing, Desk.of(machine.home.ceremonies, key), time.time())
    machine.ok("daemon", "start")
    wait_for(lambda: machine.info(team.link)["newest"] == "2.0", "the release to be published")


def test_an_app_moves_to_another_machine_and_the_old_one_follows_it(
    machine: Machine, team: Team, new_lone_machine: Callable[..., Machine], tmp_path: Path
) -> None:
    """The publisher's disk was copied: the signers name a heartbeat key on another machine."""
    team.release(team.stage(write_app(tmp_path / "app", "one")), "alice")
    host = ":".join(map(str, machine.daemon.status()["address"]))
    new = new_lone_machine(PEARRT_HOSTS=host)
    path = tmp_path / "root.request"
    new.ok("app", "rotate", team.link, "--heartbeat", "-o", path)
    machine.ok("release", "review", path)
    answer_file = path.with_suffix(".alice")
    machine.ok("release", "sign", path, *team.keys("alice"), "-o", answer_file)
    assert not machine.ok("release", "commit", path, answer_file)["committed"]
    assert new.ok("release", "commit", path, answer_file)["committed"]
    wait_for(lambda: machine.info(team.link)["root_version"] == 2, "the old machine to follow")
    path = tmp_path / "two.request"
    digest = new.ok("stage", str(write_app(tmp_path / "app", "two")))["digest"]
    new.ok("release", "request", team.link, digest, "--version", "2.0", "-o", path)
    assert machine.ok("release", "review", path)["releases"][0]["source"] == "peers"
    machine.ok("release", "sign", path, *team.keys("alice"), "-o", answer_file)
    new.ok("release", "commit", path, answer_file)
    assert machine.run(team.link, options=("--yes", "--update")) == "two\n"
