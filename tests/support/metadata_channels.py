"""Metadata sets with channels of their own signers, and releases with all their fields: every verifier must
accept them."""

from __future__ import annotations

import hashlib
import random

from tests.support.metadata_cases import NAMES, Case, fresh, released, updating, valid
from tests.support.repository import DAY, NOW, Document, Repository, index_target, text_of


def with_channel(rng: random.Random, *, threshold: int = 0) -> Repository:
    """Stable by the app's signers, beta by two to four of its own, with a release each."""
    signers = tuple(rng.sample(NAMES, rng.randint(2, 4)))
    repository = released(rng).delegate("beta", signers, threshold or rng.randint(1, len(signers)))
    return repository.release(f"2.{rng.randrange(100)}b", "beta/any")


def staged(version: str, before: str = "") -> Document:
    """A release that reaches more and more machines, and what is current where it has not arrived."""
    target = index_target(version)
    steps = [{"at": text_of(NOW), "percent": 5}, {"at": text_of(NOW + DAY), "percent": 100}]
    target["custom"] |= {"rollout": steps, "min_runtime": "0.1"}
    if before:
        target["custom"]["before"] = index_target(before)
        target["custom"]["before"]["custom"]["sequence"] = 1
    return target


def revocation(version: str, action: str = "stop") -> Document:
    digest = hashlib.sha256(version.encode()).hexdigest()
    return {"digest": digest, "action": action, "reason": "It loses data."}


@valid
def channel_with_signers_of_its_own(rng: random.Random) -> Case:
    return fresh(with_channel(rng))


@valid
def eight_channels_one_of_them_empty(rng: random.Random) -> Case:
    repository = released(rng)
    for number in range(8):
        repository.delegate(f"channel-{number}", tuple(rng.sample(NAMES, 2)), rng.randint(1, 2))
        if number:
            repository.release("1", f"channel-{number}/linux-x86_64")
    return fresh(repository)


@valid
def channel_by_the_apps_own_signers(rng: random.Random) -> Case:
    return fresh(released(rng).delegate("beta", ("ada", "bob", "cyd"), 2).release("2", "beta/any"))


@valid
def channel_that_once_was(rng: random.Random) -> Case:
    return fresh(with_channel(rng).take_back("beta"))


@valid
def releases_with_all_their_fields(rng: random.Random) -> Case:
    repository = with_channel(rng)
    targets = repository["targets"]["targets"]
    targets["stable/any"] = staged("3.0", "2.9")
    targets["stable/linux-x86_64-cp311"] = index_target("3.0-linux")
    targets["stable/linux-x86_64-cp311"]["custom"] |= {"security": True, "min_runtime": "1.2.3"}
    repository["beta"]["targets"]["beta/any"] = staged("4.0b", "3.9b")
    actions = ["warn", "stop", "return"]
    repository["targets"]["x-pearrt-revoked"] = [revocation(action, action) for action in actions]
    return fresh(repository)


@valid
def stranger_and_false_signature_beside_the_channels(rng: random.Random) -> Case:
    repository = with_channel(rng)
    repository.names["beta"].insert(0, "mallory")
    return fresh(repository)


@valid
def update_of_a_channel_alone(rng: random.Random) -> Case:
    old = with_channel(rng)
    new = old.copy()
    for number in range(rng.randint(1, 4)):
        new.release(f"3.{number}", "beta/any")
    return updating(old, new)


@valid
def update_that_gives_a_channel(rng: random.Random) -> Case:
    old = released(rng)
    return updating(old, old.copy().delegate("beta").release("2", "beta/any"))


@valid
def update_that_takes_a_channel_back(rng: random.Random) -> Case:
    old = with_channel(rng)
    new = old.copy().take_back("beta")
    new["targets"]["targets"]["beta/any"] = index_target("9")
    return updating(old, new.bump("targets"))


@valid
def update_after_a_channel_was_gone_for_a_while(rng: random.Random) -> Case:
    old = with_channel(rng)
    new = old.copy().take_back("beta")
    new["beta"]["version"] += rng.randint(1, 9)
    return updating(old, new.delegate("beta", ("ada", "eve"), 2, since=new["beta"]["version"]))


@valid
def update_that_hands_a_channel_over(rng: random.Random) -> Case:
    old = with_channel(rng)
    new = old.copy().delegate("beta", ("gus", "hal"), 2)
    return updating(old, new.release("5", "beta/any"))


@valid
def update_of_everything_at_once(rng: random.Random) -> Case:
    old = with_channel(rng)
    new = old.copy().rotate(("bob", "cyd", "dan"), 2, "hb2").release("8").delegate("night", ("eve",))
    return updating(old, new.delegate("beta", ("fay",)).release("9", "beta/any").release("1", "night/any"))


@valid
def update_after_a_fast_forward_of_a_channel_when_it_and_the_heartbeat_were_rotated(
    rng: random.Random,
) -> Case:
    old = with_channel(rng)
    pushed = old.copy()
    pushed["beta"]["version"] = rng.randrange(10**6, 2**53)
    pushed["snapshot"]["version"] = pushed["timestamp"]["version"] = 10**7
    healed = old.copy().rotate(old.team, old.threshold, "hb2").delegate("beta", ("gus", "hal"), 1)
    return updating(pushed, healed.release("9", "beta/any"))
