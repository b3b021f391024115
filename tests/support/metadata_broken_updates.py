"""Metadata sets that must be refused by someone who trusts other metadata of the app already."""

from __future__ import annotations

import random
from dataclasses import replace

from tests.support.metadata_cases import ONLINE, Case, broken, released, updating
from tests.support.repository import DAY, NOW, ROLES


@broken
def update_to_an_older_set(rng: random.Random) -> Case:
    repository = released(rng)
    later = repository.copy()
    for _ in range(rng.randint(1, 3)):
        rng.choice([later.beat, lambda: later.release("2")])()
    return updating(later, repository)


@broken
def update_with_an_older_role_inside(rng: random.Random) -> Case:
    """The timestamp is newer, what it leads to is older: only a stolen heartbeat can do that."""
    old, new = released(rng).release("2"), released(rng)
    new["timestamp"]["version"] = 9
    new["snapshot"]["version"] = rng.choice([1, 2, 4])
    return updating(old, new)


@broken
def update_of_one_version_with_other_content(rng: random.Random) -> Case:
    old = released(rng).release("2")
    new = old.copy()
    role = rng.choice(ROLES[1:])
    new[role]["x-other"] = rng.random().__repr__()
    if role != "timestamp":
        new["timestamp"]["version"] += rng.randint(0, 1)
    return updating(old, new)


@broken
def update_that_undoes_a_rotation(rng: random.Random) -> Case:
    old = released(rng).rotate(("bob", "cyd", "dan"), 2).release("2")
    new = released(rng).release("3").release("4")
    return Case(new.metadata(), old.app_key, old.metadata())


@broken
def update_signed_by_a_revoked_signer(rng: random.Random) -> Case:
    old = released(rng).rotate(("bob", "cyd", "dan"), 2)
    new = old.copy().release("2")
    new.names["targets"] = ["ada", "bob"]
    return updating(old, new)


@broken
def update_signed_by_a_revoked_heartbeat(rng: random.Random) -> Case:
    old = released(rng).rotate(("ada", "bob", "cyd"), 2, "hb2")
    new = old.copy().release("2")
    new.names[rng.choice(ONLINE)] = ["hb"]
    return updating(old, new)


@broken
def update_to_an_expired_set(rng: random.Random) -> Case:
    old = released(rng)
    case = updating(old, old.copy().release("2"))
    return replace(case, now=NOW + rng.randint(7, 400) * DAY)


@broken
def update_below_a_fast_forward_while_its_keys_are_trusted(rng: random.Random) -> Case:
    """Rotating the signers alone does not undo what the heartbeat key did, nor the other way round."""
    pushed = released(rng)
    role = rng.choice(["timestamp", "snapshot", "targets"])
    pushed[role]["version"] = 10**6
    later = released(rng)
    later = (
        later.rotate(("dan", "eve"), 2) if role in ONLINE else later.rotate(("ada", "bob", "cyd"), 2, "hb2")
    )
    return updating(pushed, later.release("2"))
