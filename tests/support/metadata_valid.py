"""Metadata sets that every verifier must accept, as new installs and as updates."""

from __future__ import annotations

import json
import random

from tests.support.metadata_cases import (
    NAMES,
    Case,
    bend,
    bend_root,
    edit_envelope,
    fresh,
    released,
    team,
    updating,
    valid,
)
from tests.support.repository import (
    DAY,
    NOW,
    ROLES,
    Document,
    Repository,
    index_target,
    key_id,
    key_object,
    public_hex,
    signature,
    text_of,
)


@valid
def plain(rng: random.Random) -> Case:
    return fresh(team(rng).release("1.0"))


@valid
def no_release_yet(rng: random.Random) -> Case:
    return fresh(team(rng))


@valid
def everybody_signs(rng: random.Random) -> Case:
    repository = team(rng).release("1")
    repository.names["targets"] = list(repository.team)
    repository.recommit_root(*repository.team)
    return fresh(repository)


@valid
def chain_of_roots(rng: random.Random) -> Case:
    repository = team(rng)
    for step in range(rng.randint(1, 4)):
        repository.rotate(tuple(rng.sample(NAMES, 3)), rng.randint(1, 3), f"hb{rng.randrange(2)}{step}")
    return fresh(repository.release("1"))


@valid
def blobs_with_white_space(rng: random.Random) -> Case:
    repository = released(rng)
    for role in rng.sample(ROLES, 2):
        repository.blob_edits[role] = lambda raw: json.dumps(
            json.loads(raw), indent=rng.choice([1, 2])
        ).encode()
    return fresh(repository)


@valid
def unknown_fields(rng: random.Random) -> Case:
    repository = released(rng)
    for role in ("timestamp", "snapshot", "targets"):
        repository[role]["x-later"] = {"a": [1, None, True, "ä\u2028"], "b": -(2**53) + 1}
    return fresh(repository)


@valid
def a_stranger_signs_too(rng: random.Random) -> Case:
    repository = released(rng)
    repository.names[rng.choice(ROLES[1:])].insert(0, "mallory")
    return fresh(repository)


@valid
def one_false_signature_too_many(rng: random.Random) -> Case:
    def edit(value: Document) -> None:
        value["signatures"].append(signature("cyd", value["signed"]) | {"sig": rng.randbytes(64).hex()})

    return edit_envelope(rng, "targets", edit)


@valid
def many_releases(rng: random.Random) -> Case:
    repository = released(rng)
    paths = [
        f"{channel}/{platform}" for channel in ("stable", "beta") for platform in ("any", "linux-x86_64")
    ]
    repository["targets"]["targets"] |= {path: index_target(str(rng.random())) for path in paths}
    repository["targets"]["targets"]["docs/of/later"] = {"length": 0, "hashes": {"sha256": "0" * 64}}
    return fresh(repository)


@valid
def named_keys(rng: random.Random) -> Case:
    def edit(root: Document) -> None:
        for number, key in enumerate(root["keys"].values()):
            key["x-pearrt-name"] = f"Signer Nr. {number}"

    return bend_root(rng, edit)


@valid
def expired_root_in_the_middle(rng: random.Random) -> Case:
    repository = Repository()
    repository["root"]["expires"] = text_of(NOW - DAY)
    repository.recommit_root()
    repository["root"]["expires"] = text_of(NOW + DAY)
    return fresh(repository.rotate(("ada", "bob", "dan"), 2).release("1"))


@valid
def targets_have_keys_of_their_own(rng: random.Random) -> Case:
    repository = released(rng)
    root = repository["root"]
    for name in ("dan", "eve"):
        root["keys"][key_id(public_hex(name))] = key_object(public_hex(name))
    root["roles"]["targets"] = {
        "keyids": [key_id(public_hex(name)) for name in ("dan", "eve")],
        "threshold": 2,
    }
    repository.recommit_root()
    repository.names["targets"] = ["dan", "eve"]
    return fresh(repository)


@valid
def other_spelling_of_the_spec(rng: random.Random) -> Case:
    return bend(rng, rng.choice(ROLES[1:]), {"spec_version": rng.choice(["1.0", "1.0.0", "1.9.99", "1.1"])})


@valid
def expires_in_the_last_second(rng: random.Random) -> Case:
    return bend(rng, rng.choice(ROLES), {"expires": rng.choice([text_of(NOW + 1), "9999-12-31T23:59:59Z"])})


@valid
def update_nothing_new(rng: random.Random) -> Case:
    repository = released(rng)
    return updating(repository, repository.copy())


@valid
def update_heartbeat(rng: random.Random) -> Case:
    repository = released(rng)
    return updating(repository, repository.copy().beat())


@valid
def update_release(rng: random.Random) -> Case:
    repository = released(rng)
    later = repository.copy()
    for number in range(rng.randint(1, 5)):
        later.release(f"2.{number}")
    return updating(repository, later)


@valid
def update_new_signers(rng: random.Random) -> Case:
    repository = released(rng)
    later = repository.copy().rotate(("bob", "cyd", "dan"), rng.randint(1, 3), times=rng.randint(1, 3))
    return updating(repository, later.release("2"))


@valid
def update_after_a_fast_forward_when_all_keys_were_rotated(rng: random.Random) -> Case:
    pushed = released(rng)
    for role in ("timestamp", "snapshot", "targets"):
        pushed[role]["version"] = rng.randrange(10**6, 2**53)
    recovered = released(rng).rotate(("dan", "eve"), 2, "hb2").release("2")
    return updating(pushed, recovered)
