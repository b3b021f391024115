"""Channels, rollouts and revocations where people meet them: in the app that starts, on several machines."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pearrt.crypto.keyfile import unlock
from pearrt.link import Link, encode_key
from pearrt.publish.channel import delegate_channel, promote
from pearrt.publish.draft import Draft, combine, sign
from pearrt.publish.keys import find_key, new_key
from pearrt.publish.publication import Publication
from pearrt.publish.withdraw import revoke
from pearrt.trust.revocation import Action
from tests.support.machine import Machine, wait_for
from tests.support.team import CHEAP, PASSWORD, Team, write_app

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]


class Publisher:
    """An app of alice's; tess signs its channel beta once it is hers."""

    def __init__(self, machine: Machine, work: Path) -> None:
        self.machine, self.work = machine, work
        self.team = Team(machine, work, threshold=1)
        self.tess = new_key(machine.home.keys, "tess", PASSWORD, cost=CHEAP)
        self.link = Link.parse(self.team.link)

    @property
    def publication(self) -> Publication:
        return Publication.open(self.machine.home.publishing / encode_key(self.link.app_key))

    def release(self, text: str, *options: str, key: str = "alice") -> None:
        """An app that prints `text`, which is its version too."""
        digest = self.team.stage(write_app(self.work / "app", text))
        words = ["release", "publish", self.team.link, digest, "--version", text, *options]
        self.machine.ok(*words, *self.team.keys(key))

    def commit(self, *drafts: Draft) -> None:
        """Signs each with every key that may, and publishes them together."""
        blobs = {}
        for draft in drafts:
            names = [signer.name for signer in draft.signers if signer.name in ("alice", "tess")]
            seeds = [unlock(find_key(self.machine.home.keys, name), PASSWORD) for name in names]
            blobs[draft.role] = combine(draft, [sign(draft, seed) for seed in seeds])
        self.publication.commit_signed(drafts, blobs, time.time())
        self.machine.daemon.publish(self.link)

    def give_beta(self) -> None:
        change = delegate_channel(self.publication.trusted, "beta", [self.tess], 1, now=time.time())
        self.commit(change.targets, change.channel)


@pytest.fixture
def publisher(new_machine: Callable[..., Machine], tmp_path: Path) -> Publisher:
    return Publisher(new_machine(), tmp_path)


def test_beta_is_signed_by_its_own_signers_run_by_link_and_promoted(
    publisher: Publisher, new_machine: Callable[..., Machine]
) -> None:
    user, careful = new_machine(), new_machine()
    publisher.release("1.0")
    publisher.give_beta()
    publisher.release("2.0b", "--channel", "beta", key="tess")
    link, beta = publisher.team.link, f"{publisher.team.link}?channel=beta"

    assert careful.run(link) == "1.0\n"
    assert user.run(beta) == "2.0b\n"
    assert user.ok("info", link)["signers"] == ["tess"]
    assert user.run(link) == "2.0b\n"  # the link alone goes along with what is followed
    assert user.run(f"{link}?channel=stable") == "1.0\n"
    assert user.ok("info", link)["signers"] == careful.ok("info", link)["signers"]
    assert user.run(beta) == "2.0b\n"

    publisher.commit(promote(publisher.publication.trusted, "beta", "stable", now=time.time()))
    wait_for(lambda: careful.info(link)["version"] == "2.0b", "the promoted release")
    assert careful.run(link) == "2.0b\n"


def test_what_is_not_for_this_machine_yet_waits_and_says_why_and_update_fetches_what_it_may(
    publisher: Publisher, new_machine: Callable[..., Machine]
) -> None:
    user, newcomer = new_machine(), new_machine()
    publisher.release("1.0")
    assert user.run(publisher.team.link) == "1.0\n"
    publisher.release("2.0", "--rollout", "1%@30d,100%@60d")
    wait_for(lambda: "rolled out" in user.info(publisher.team.link)["held_back"], "the news")
    assert user.run(publisher.team.link) == "1.0\n"
    assert newcomer.run(publisher.team.link) == "1.0\n"
    assert user.run(publisher.team.link, options=("--yes", "--update")) == "2.0\n"
    assert user.run(publisher.team.link) == "2.0\n"

    publisher.release("3.0", "--min-runtime", "99.1")
    error = user.refused("run", "--yes", "--update", publisher.team.link)
    assert "3.0 needs pearrt 99.1; this is" in error["message"]
    assert user.run(publisher.team.link) == "2.0\n"


def test_a_revoked_release_warns_stops_or_returns_as_the_signers_say(
    publisher: Publisher, new_machine: Callable[..., Machine]
) -> None:
    user, link = new_machine(), publisher.team.link
    publisher.release("1.0")
    assert user.run(link) == "1.0\n"
    publisher.release("2.0")
    wait_for(lambda: user.info(link)["version"] == "2.0", "the update")

    def revoked(action: str) -> None:
        publisher.commit(revocation(publisher, Action(action)))
        wait_for(
            lambda: (
                (user.info(link)["revoked"] or {}).get("action") == action
                or user.info(link)["version"] == "1.0"
            ),
            "the news",
        )

    revoked("warn")
    done = user.pearrt("run", "--yes", link)
    assert (done.returncode, done.stdout) == (0, "2.0\n")
    assert "revoked by its signers: It loses data." in done.stderr
    revoked("stop")
    done = user.pearrt("run", "--yes", link)
    assert (done.returncode, done.stdout) == (4, "")
    assert "revoked by its signers: It loses data." in done.stderr
    revoked("return")
    assert user.run(link) == "1.0\n"
    assert new_machine().refused("run", "--yes", link)["code"] == "trust-error"


def revocation(publisher: Publisher, action: Action) -> Draft:
    trusted = publisher.publication.trusted
    release = trusted.release()
    assert release is not None
    return revoke(trusted, [release.index_digest], action, "It loses data.", now=time.time())
