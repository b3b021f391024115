"""The story of docs/guides/publisher.md: five signers on machines of their own, a publisher, three users.

Create, release, rotate two signers, lose one, revoke a release, recover from a stolen heartbeat key. One link
all along, and the users see the right thing at every step. Real commands and real daemons, over loopback.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pearrt.link import Link
from pearrt.publish.publication import METADATA, Publication
from tests.support.machine import Machine, wait_for
from tests.support.require import require
from tests.support.signer import SignerMachine
from tests.support.stolen_heartbeat import HIGHEST, run_forward
from tests.support.team import write_app

GUIDE = Path(__file__).parents[2] / "docs/guides/publisher.md"

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]


@pytest.fixture
def ssh_agent(tmp_path: Path) -> Iterator[Path]:
    require("ssh-agent", "ssh-add", "ssh-keygen")
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    wait_for(path.exists, "the agent's socket")
    yield path
    process.terminate()
    process.wait()


class Story:
    """The people of the story, and what they do more than once."""

    def __init__(self, new_machine: Callable[[], Machine], ssh_agent: Path, folder: Path) -> None:
        self.folder = folder
        self.typed: list[list[str]] = []
        self.publisher = new_machine()
        self.users = [new_machine() for _ in range(3)]
        self.thief = new_machine()
        self.people = {
            name: SignerMachine(name, new_machine(), folder / name)
            for name in ("alice", "bob", "carol", "dana", "erin", "frank", "grace")
        }
        for name, person in self.people.items():
            person.make_agent_key(ssh_agent) if name == "dana" else person.make_key()
        for machine in (self.publisher, *(person.machine for person in self.people.values())):
            machine.typed = self.typed
        self.source = write_app(folder / "app", "one")
        self.link = ""

    def stage(self, text: str, version: str) -> str:
        write_app(self.source, text)
        project = self.source / "pyproject.toml"
        project.write_text(project.read_text().replace('version = "1.0"', f'version = "{version}"'))
        digest: str = self.publisher.ok("stage", str(self.source))["digest"]
        return digest

    def request(self, *command: str | Path) -> tuple[Path, dict[str, Any]]:
        path = self.folder / f"{time.monotonic_ns()}.request"
        return path, self.publisher.ok(*command, "-o", str(path))

    def signed_by(self, path: Path, *names: str) -> list[str]:
        """Answers of people who review the request on their machines, with the sources at hand."""
        answers = []
        for name in names:
            self.people[name].review(path)
            answers.append(self.people[name].sign(path))
        return answers

    def commit(self, path: Path, *answers: str) -> dict[str, Any]:
        self.publisher.ok("release", "combine", str(path), *answers)
        committed: dict[str, Any] = self.publisher.ok("release", "commit", str(path.with_suffix(".signed")))
        assert committed["committed"]
        return committed

    def users_run(self, text: str) -> None:
        """Every user has what the newest metadata says, by the one link."""
        for user in self.users:
            assert user.run(self.link, options=("--yes", "--update")) == f"{text}\n"

    def users_see(self, **fields: Any) -> None:
        for user in self.users:
            info = user.info(self.link)
            assert {name: info[name] for name in fields} == fields
            assert Link.parse(info["link"]).app_key == Link.parse(self.link).app_key


def test_five_signers(new_machine: Callable[[], Machine], ssh_agent: Path, tmp_path: Path) -> None:
    story = Story(new_machine, ssh_agent, tmp_path)
    create(story)
    first_release(story)
    rotate_two_signers(story)
    lose_one(story)
    revoke_a_release(story)
    recover_from_a_stolen_heartbeat_key(story)
    assert [line for line in told_in_the_guide() if not any(covers(done, line) for done in story.typed)] == []


def told_in_the_guide() -> list[list[str]]:
    """The commands of the guide's chapter about five signers, word by word."""
    chapter = GUIDE.read_text().partition("## Five signers")[2].partition("\n## ")[0]
    lines = re.findall(r"^ {4}pearrt (.+?)(?:  #.*)?$", chapter, re.MULTILINE)
    assert len(lines) > 12
    return [shlex.split(line) for line in lines]


def covers(done: list[str], told: list[str]) -> bool:
    """Whether the story typed this command with all its options."""
    words = told[: 1 if told[0] == "stage" else 2]
    options = {word for word in told if word.startswith("--")} - {"--output", "--key"}
    return done[: len(words)] == words and options <= set(done)


def create(story: Story) -> None:
    """Nobody's key ever is on the publisher's machine."""
    five = [str(story.people[name].public) for name in ("alice", "bob", "carol", "dana", "erin")]
    path, asked = story.request("app", "new", "--signers", ",".join(five), "--threshold", "3")
    story.link = asked["link"]
    reviewed = story.people["alice"].review(path)
    assert reviewed["keys"]["threshold"] == [0, 3]
    assert reviewed["keys"]["added"] == ["alice", "bob", "carol", "dana", "erin"]
    assert reviewed["fingerprint"] == asked["fingerprint"]
    alice = story.people["alice"].sign(path)
    error = story.people["bob"].machine.refused("release", "sign", str(path), *story.people["bob"].how)
    assert "not reviewed" in error["message"]
    answers = [alice, *story.signed_by(path, "carol", "bob")]
    story.commit(path, *answers)
    assert story.publisher.ok("app", "list")[0]["link"] == story.link


def first_release(story: Story) -> None:
    """Alice fetches the bundle from the publisher, Bob has the sources, Dana is read the words."""
    path, _ = story.request("release", "request", story.link, story.stage("one", "1.0"), "--notes", "First")
    reviewed = story.people["alice"].review(path)
    (release,) = reviewed["releases"]
    assert (release["path"], release["after"], release["source"]) == ("stable/any", "1.0", "peers")
    assert "hello.py" in release["files"]["added"]
    from_sources = story.people["bob"].review(path, "--bundle", story.source)
    assert from_sources["releases"][0]["digest"] == release["digest"]
    dana = story.people["dana"].sign(path, "--blind", "--words", reviewed["fingerprint"])
    bob = story.people["bob"].sign(path)
    mail = story.folder / "mail.txt"
    mail.write_text(f"Hi,\n\n> {bob[:70]}\n> {bob[70:140]}\n> {bob[140:]}\n\nRegards, Bob\n")
    combined = story.publisher.ok("release", "combine", str(path), str(mail), dana)
    assert combined["signatures"] == "2 of 3, waiting for alice, carol or erin"
    (status,) = story.publisher.ok("release", "status", combined["file"])
    assert (status["signatures"], status["state"]) == (combined["signatures"], "open")
    error = story.publisher.refused("release", "commit", str(path.with_suffix(".signed")))
    assert error["code"] == "threshold-not-met"
    answers = [dana, story.people["alice"].sign(path), bob]
    story.commit(path, *answers)
    story.users_run("one")
    story.users_see(newest="1.0", threshold=3, root_version=1, notes="First")


def rotate_two_signers(story: Story) -> None:
    """Dana and Erin go, Frank and Grace come: the old and the new threshold sign."""
    new = [f"{name}={story.people[name].public}" for name in ("frank", "grace")]
    path, _ = story.request(
        "app", "rotate", story.link, "--add", new[0], "--add", new[1], "--remove", "dana", "--remove", "erin"
    )
    assert story.people["grace"].review(path)["keys"]["removed"] == ["dana", "erin"]
    answers = story.signed_by(path, "frank", "bob", "alice")
    combined = story.publisher.ok("release", "combine", str(path), *answers)
    assert "old signers: 2 of 3, waiting for carol, dana or erin" in combined["signatures"]
    story.commit(path, *answers, *story.signed_by(path, "carol"))
    story.users_run("one")
    story.users_see(root_version=2, signers=["alice", "bob", "carol", "frank", "grace"])


def lose_one(story: Story) -> None:
    """Carol's disk dies. Three of the other four still release."""
    shutil.rmtree(story.people["carol"].folder)
    path, _ = story.request("release", "request", story.link, story.stage("two", "2.0"))
    (release,) = story.people["grace"].review(path, "--diff", "hello.py")["releases"]
    assert release["files"]["changed"] == ["hello.py", "pyproject.toml"]
    error = story.people["dana"].machine.refused(
        "release", "sign", str(path), "--ssh-agent", "--blind", "--words", "x"
    )
    assert "not the six words" in error["message"]
    answers = [story.people["grace"].sign(path), *story.signed_by(path, "alice", "frank")]
    story.commit(path, *answers)
    story.users_run("two")
    story.users_see(newest="2.0", signed_by=["alice", "frank", "grace"])


def revoke_a_release(story: Story) -> None:
    """2.0 was a mistake: everybody goes back to 1.0, as a newer statement."""
    path, _ = story.request(
        "release", "return", story.link, "1.0", "--revoke", "return", "--reason", "It loses notes"
    )
    reviewed = story.people["bob"].review(path)
    assert [each["action"] for each in reviewed["revoked"]] == ["return"]
    assert (reviewed["releases"][0]["before"], reviewed["releases"][0]["after"]) == ("2.0", "1.0")
    story.commit(path, *story.signed_by(path, "alice", "bob", "grace"))
    story.users_run("one")
    story.users_see(newest="1.0")


def recover_from_a_stolen_heartbeat_key(story: Story) -> None:
    """The thief signs the highest version there is: users hear of nothing newer, until one ceremony."""
    steal(story)
    wait_for(
        lambda: all(timestamp_of(user, story.link) == HIGHEST for user in story.users),
        "the thief's timestamp",
    )
    path, _ = story.request("release", "request", story.link, story.stage("three", "3.0"))
    story.commit(path, *story.signed_by(path, "alice", "bob", "frank"))
    story.users_see(newest="1.0")  # frozen: what is installed still runs
    path, _ = story.request("app", "rotate", story.link, "--heartbeat")
    assert story.people["bob"].review(path)["keys"]["heartbeat_changed"]
    story.commit(path, *story.signed_by(path, "alice", "bob", "frank"))
    story.users_run("three")
    story.users_see(newest="3.0", root_version=3, freshness="fresh")
    assert all(timestamp_of(user, story.link) < HIGHEST for user in story.users)


def steal(story: Story) -> None:
    """A machine with a copy of the publication, whose heartbeat it runs forward as far as that goes."""
    key, home = Link.parse(story.link).key_text, story.thief.home
    shutil.copytree(story.publisher.home.publishing, home.publishing)
    stolen = Publication.open(home.publishing / key)
    metadata = run_forward(stolen.heartbeat, stolen.trusted, time.time()).encode()
    (home.publishing / key / METADATA).write_bytes(metadata)
    story.thief.ok("daemon", "start")
    story.thief.daemon.publish(Link.parse(story.link))


def timestamp_of(user: Machine, link: str) -> int:
    return int(json.loads(user.daemon.metadata(Link.parse(link))["timestamp.json"])["signed"]["version"])
