"""Metadata sets whose channels, rollouts or revocations are not as they must be."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.support.metadata_cases import Case, broken, fresh, released, updating
from tests.support.metadata_channels import revocation, staged, with_channel
from tests.support.repository import (
    DAY,
    NOW,
    Document,
    Repository,
    flip,
    index_target,
    key_id,
    key_object,
    meta_of,
    public_hex,
    text_of,
    with_blob,
)


def bent_role(rng: random.Random, edit: Callable[[Document], Any]) -> Case:
    """The delegation says something else, rightly signed."""
    repository = with_channel(rng)
    edit(repository["targets"]["delegations"]["roles"][0])
    return fresh(repository)


@broken
def channel_one_signature_short(rng: random.Random) -> Case:
    repository = with_channel(rng)
    repository.names["beta"].pop()
    return fresh(repository)


@broken
def channel_signed_by_others(rng: random.Random) -> Case:
    repository = released(rng).delegate("beta", ("dan", "eve"), rng.randint(1, 2)).release("2", "beta/any")
    repository.names["beta"] = rng.choice([["ada", "bob", "cyd"], ["hb"], ["mallory", "dan"][:1], []])
    return fresh(repository)


@broken
def channel_of_the_heartbeat(rng: random.Random) -> Case:
    return fresh(released(rng).delegate("beta", ("hb", "dan"), rng.randint(1, 2)).release("2", "beta/any"))


@broken
def channel_flipped_bit(rng: random.Random) -> Case:
    repository = with_channel(rng)
    metadata = repository.metadata()
    raw = metadata.delegated["beta"]
    changed = flip(raw, rng.randrange(len(raw)))
    if rng.random() < 0.5:
        return Case(with_blob(metadata, "beta", changed), repository.app_key)
    repository.blob_edits["beta"] = lambda _: changed
    return fresh(repository)


@broken
def channel_metadata_missing_or_too_much(rng: random.Random) -> Case:
    repository = with_channel(rng)
    metadata = repository.metadata()
    blob = metadata.delegated["beta"]
    delegated = rng.choice([{}, {"night": blob}, {"beta": blob, "night": blob}])
    return Case(replace(metadata, delegated=delegated), repository.app_key)


@broken
def channel_that_the_snapshot_does_not_name_rightly(rng: random.Random) -> Case:
    repository = with_channel(rng)
    lies: list[Document] = [
        {"version": 1},
        {"version": 3},
        {"length": 7},
        {"hashes": {"sha256": "0" * 64}},
        {"hashes": {}},
        {"x": 1},
    ]
    lie = rng.choice([*lies, None])
    if lie is None:
        repository.signed_edits["snapshot"] = lambda document: document["meta"].pop("beta.json")
    else:
        repository.link_edits["beta"] = lambda entry: entry.update(lie)
    return fresh(repository)


@broken
def channel_of_another_app_type_or_spec(rng: random.Random) -> Case:
    repository = with_channel(rng)
    fields: list[Document] = [
        {"x-pearrt-app": "f" * 32},
        {"_type": "snapshot"},
        {"_type": "beta"},
        {"spec_version": "2.0"},
        {"version": 0},
        {"version": 2**53},
        {"expires": "9999"},
    ]
    repository["beta"] |= rng.choice(fields)
    return fresh(repository)


@broken
def channel_expired(rng: random.Random) -> Case:
    repository = with_channel(rng)
    repository["beta"]["expires"] = text_of(NOW - rng.randrange(400 * int(DAY)))
    return fresh(repository)


@broken
def channel_larger_than_its_cap(rng: random.Random) -> Case:
    repository = with_channel(rng)
    repository["beta"]["x"] = "x" * 65536
    return fresh(repository)


@broken
def channel_that_speaks_for_others(rng: random.Random) -> Case:
    repository = with_channel(rng)
    path = rng.choice(["stable/any", "beta", "beta/", "beta/any/x", "betas/any", "../any", "beta/Any"])
    repository["beta"]["targets"][path] = index_target("6.6.6")
    return fresh(repository)


@broken
def two_that_speak_for_a_channel(rng: random.Random) -> Case:
    repository = with_channel(rng)
    repository["targets"]["targets"]["beta/" + rng.choice(["any", "linux-x86_64"])] = index_target("6.6.6")
    return fresh(repository)


@broken
def channel_that_delegates_or_revokes(rng: random.Random) -> Case:
    repository = with_channel(rng)
    fields: list[Document] = [
        {"delegations": repository["targets"]["delegations"]},
        {"delegations": {"keys": {}, "roles": []}},
        {"x-pearrt-revoked": [revocation("1.0")]},
        {"x-pearrt-revoked": []},
    ]
    repository["beta"] |= rng.choice(fields)
    return fresh(repository)


@broken
def delegation_of_another_shape(rng: random.Random) -> Case:
    edits: list[Callable[[Document], Any]] = [
        lambda role: role.update(terminating=False),
        lambda role: role.update(terminating=1),
        lambda role: role.update(paths=["*"]),
        lambda role: role.update(paths=["beta/*", "stable/*"]),
        lambda role: role.update(paths=["beta/**"]),
        lambda role: role.update(paths=[]),
        lambda role: role.update(path_hash_prefixes=["00"]),
        lambda role: (role.pop("paths"), role.update(path_hash_prefixes=["00"])),
        lambda role: role.pop("terminating"),
        lambda role: role.pop("x-pearrt-since"),
        lambda role: role.update({"x-pearrt-since": 0}),
        lambda role: role.update({"x-pearrt-since": 99}),
        lambda role: role.update(x=1),
    ]
    return bent_role(rng, rng.choice(edits))


@broken
def delegation_under_another_name(rng: random.Random) -> Case:
    name = rng.choice(
        ["root", "targets", "snapshot", "timestamp", "", "Beta", "be/ta", "../beta", "β", 7, None]
    )
    repository = with_channel(rng)
    repository["targets"]["delegations"]["roles"][0] |= {"name": name, "paths": [f"{name}/*"]}
    return fresh_as(repository)


@broken
def delegation_that_could_never_be_signed(rng: random.Random) -> Case:
    threshold = rng.choice([0, -1, True, "1", None, 5, 2**64])
    return bent_role(rng, lambda role: role.update(threshold=threshold))


@broken
def delegation_that_counts_a_key_twice(rng: random.Random) -> Case:
    repository = released(rng).delegate("beta", ("dan",)).release("2", "beta/any")
    delegations = repository["targets"]["delegations"]
    dan = key_id(public_hex("dan"))
    ids = rng.choice([[dan, dan], [dan, "a" * 64], [dan.upper()], [dan, "0" * 64]])
    delegations["roles"][0] |= {"keyids": ids, "threshold": len(ids)}
    if "a" * 64 in ids:
        delegations["keys"]["a" * 64] = key_object(public_hex("dan"))
    return fresh(repository)


@broken
def delegations_of_another_shape(rng: random.Random) -> Case:
    repository = with_channel(rng)
    delegations = repository["targets"]["delegations"]
    edits: list[Callable[[], Any]] = [
        lambda: delegations.update(x=1),
        lambda: delegations.update(roles=delegations["roles"] * 2),
        lambda: delegations.update(roles={}),
        lambda: delegations.update(roles=[]),
        lambda: delegations.update(keys={}),
        lambda: delegations.update(keys=[]),
        lambda: (
            delegations.pop("roles"),
            delegations.update(
                succinct_roles={"keyids": [], "threshold": 1, "bit_length": 2, "name_prefix": "x"}
            ),
        ),
    ]
    rng.choice(edits)()
    return fresh_as(repository)


def fresh_as(repository: Repository) -> Case:
    """A set that holds beta, whatever its targets say of it."""
    proper = repository.copy()
    proper["targets"]["delegations"] = {"keys": {}, "roles": [{"name": "beta"}]}
    blob = proper.metadata().delegated["beta"]
    document = repository["targets"]
    stand_in = repository.copy()
    stand_in["targets"] = {**document, "delegations": {"keys": {}, "roles": []}}
    stand_in.signed_edits["targets"] = lambda targets: targets.update(delegations=document["delegations"])
    stand_in["snapshot"]["meta"]["beta.json"] = meta_of(repository["beta"]["version"], blob)
    return Case(replace(stand_in.metadata(), delegated={"beta": blob}), repository.app_key)


@broken
def nine_channels(rng: random.Random) -> Case:
    repository = released(rng)
    for number in range(9):
        repository.delegate(f"channel-{number}")
    return fresh(repository)


@broken
def rollout_or_requirement_misspelt(rng: random.Random) -> Case:
    repository = released(rng)
    step = {"at": text_of(NOW), "percent": 50}
    later = {"at": text_of(NOW + DAY), "percent": 100}
    fields: list[Document] = [
        {"rollout": []},
        {"rollout": step},
        {"rollout": [later, step]},
        {"rollout": [step, step]},
        {"rollout": [step | {"percent": 0}]},
        {"rollout": [step | {"percent": 101}]},
        {"rollout": [step | {"percent": True}]},
        {"rollout": [step | {"at": "soon"}]},
        {"rollout": [step | {"x": 1}]},
        {"rollout": [step] * 17},
        {"min_runtime": "1.x"},
        {"min_runtime": ""},
        {"min_runtime": "1.2.3.4.5"},
        {"min_runtime": 1},
        {"security": False},
        {"security": 1},
        {"before": {}},
        {"before": index_target("1.0")},
    ]
    repository["targets"]["targets"]["stable/any"]["custom"] |= rng.choice(fields)
    return fresh(repository)


@broken
def release_before_another_that_is_none(rng: random.Random) -> Case:
    repository = released(rng)
    target = staged("3.0", "2.0")
    before = target["custom"]["before"]
    edits: list[Callable[[], Any]] = [
        lambda: before["custom"].update(sequence=2),
        lambda: before["custom"].update(sequence=0),
        lambda: before["custom"].pop("sequence"),
        lambda: before["custom"].update(before=before["custom"] and index_target("1.0")),
        lambda: before.update(hashes={}),
        lambda: before.update(length=-1),
    ]
    rng.choice(edits)()
    repository["targets"]["targets"]["stable/any"] = target
    return fresh(repository)


@broken
def revocation_misspelt(rng: random.Random) -> Case:
    repository = released(rng)
    good = revocation("1.0")
    odd: list[Any] = [
        good,
        [good | {"digest": "0" * 63}],
        [good | {"digest": good["digest"].upper()}],
        [good | {"action": "delete"}],
        [good | {"action": "STOP"}],
        [good | {"reason": "\x1b[2J"}],
        [good | {"reason": "x" * 281}],
        [good | {"x": 1}],
        [{"digest": good["digest"]}],
        [good, good | {"action": "warn"}],
        [revocation(str(number)) for number in range(257)],
        None,
    ]
    repository["targets"]["x-pearrt-revoked"] = rng.choice(odd)
    return fresh(repository)


# Updates.


@broken
def update_to_an_older_channel(rng: random.Random) -> Case:
    old = with_channel(rng).release("3", "beta/any")
    new = old.copy()
    new["beta"]["version"] -= 1
    return updating(old, new.bump(*rng.choice([[], ["targets"]])))


@broken
def update_to_another_channel_of_one_version(rng: random.Random) -> Case:
    old = with_channel(rng)
    new = old.copy()
    new["beta"]["x-other"] = 1
    return updating(old, new.bump())


@broken
def update_that_forgets_a_channel(rng: random.Random) -> Case:
    old = with_channel(rng).take_back("beta")
    new = old.copy()
    del new["snapshot"]["meta"]["beta.json"]
    return updating(old, new.bump(*rng.choice([[], ["targets"]])))


@broken
def update_that_brings_a_channel_back_older(rng: random.Random) -> Case:
    old = with_channel(rng).release("3", "beta/any")
    new = old.copy().take_back("beta").delegate("beta", rng.choice([("dan", "eve"), ("gus",)]))
    new["beta"]["version"] -= rng.randint(1, 2)
    return updating(old, new.bump("targets"))


@broken
def update_by_former_signers_of_a_channel(rng: random.Random) -> Case:
    old = with_channel(rng).delegate("beta", ("gus", "hal"), 1)
    new = old.copy().release("6.6.6", "beta/any")
    new.names["beta"] = ["dan", "eve"]
    return updating(old, new)


@broken
def update_below_a_fast_forward_of_a_channel_that_only_was_handed_over(rng: random.Random) -> Case:
    pushed = with_channel(rng)
    healed = pushed.copy().delegate("beta", ("gus", "hal"), 1)
    pushed["beta"]["version"] = 10**6
    return updating(pushed, healed.release("9", "beta/any").bump().bump())
