"""Metadata sets of apps with witnesses: what enough of them saw, and what they did not."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.support.metadata_cases import Case, broken, valid
from tests.support.repository import public_hex
from tests.support.witnessed_repository import (
    FIELD,
    WITNESSES,
    WitnessedRepository,
    checkpoint_text,
    cosignature,
    cosignatures,
    field_of,
)

BOTH = list(WITNESSES[:2])


def witnessed(rng: random.Random, releases: int = 2) -> WitnessedRepository:
    repository = WitnessedRepository()
    for number in range(releases):
        repository.release(f"1.{number}.{rng.randrange(100)}")
    return repository


def first(repository: WitnessedRepository, **seen: bytes) -> Case:
    """`seen` replaces cosignatures, by name."""
    found = {**repository.witnessed(), **seen}
    metadata = replace(repository.metadata(), witnessed={name: data for name, data in found.items() if data})
    return Case(metadata, repository.app_key)


# -- valid


@valid
def a_release_that_a_quorum_of_witnesses_saw(rng: random.Random) -> Case:
    repository = witnessed(rng, rng.randint(1, 5))
    repository.seeing = rng.sample(WITNESSES, rng.randint(2, 3))
    return first(repository)


@valid
def an_update_that_witnesses_saw(rng: random.Random) -> Case:
    repository = witnessed(rng)
    old = repository.metadata()
    repository.release("2.0").release("2.1")
    return Case(repository.metadata(), repository.app_key, old)


@valid
def other_witnesses_whom_those_before_saw_come(rng: random.Random) -> Case:
    repository = witnessed(rng)
    old = repository.metadata()
    repository.name_witnesses("zoe", "ula", quorum=2)
    return Case(repository.metadata(), repository.app_key, old if rng.randrange(2) else None)


@valid
def an_app_with_witnesses_that_says_nothing_yet(rng: random.Random) -> Case:
    repository = WitnessedRepository(quorum=rng.randint(2, 3))
    return Case(repository.metadata(), repository.app_key)


# -- broken


@broken
def a_release_that_no_witness_saw(rng: random.Random) -> Case:
    repository = witnessed(rng)
    old = repository.metadata()
    repository.seeing = []
    repository.release("secret")
    return Case(repository.metadata(), repository.app_key, old)


@broken
def a_release_that_too_few_witnesses_saw(rng: random.Random) -> Case:
    repository = witnessed(rng)
    repository.seeing = [rng.choice(WITNESSES)]
    return first(repository)


@broken
def a_witness_who_cosigned_twice(rng: random.Random) -> Case:
    repository = witnessed(rng)
    text = repository.targets_text()
    return first(repository, targets=b"".join(sorted(cosignature("wim", text, time) for time in (1, 2))))


@broken
def a_stranger_among_the_witnesses(rng: random.Random) -> Case:
    repository = witnessed(rng)
    return first(repository, targets=cosignatures([*BOTH, "mal"], repository.targets_text()))


@broken
def cosignatures_of_the_release_before(rng: random.Random) -> Case:
    repository = witnessed(rng)
    before = checkpoint_text(repository.app_key, "targets", list(repository.leaves))
    return first(repository, targets=cosignatures(BOTH, before))


@broken
def cosignatures_of_another_apps_head(rng: random.Random) -> Case:
    repository = witnessed(rng)
    text = repository.targets_text()
    other = checkpoint_text(rng.randbytes(32), "targets", []).partition("\n")[0]
    return first(repository, targets=cosignatures(BOTH, other + text[text.index("\n") :]))


@broken
def cosignatures_of_another_role(rng: random.Random) -> Case:
    repository = witnessed(rng)
    return first(repository, targets=cosignatures(BOTH, repository.root_text()))


@broken
def cosignatures_of_nothing(rng: random.Random) -> Case:
    repository = witnessed(rng)
    return first(repository, beta=cosignatures(BOTH, repository.targets_text()))


@broken
def witnesses_removed_unseen(rng: random.Random) -> Case:
    repository = witnessed(rng)
    old = repository.metadata()
    repository.name_witnesses(seen_by=())
    return Case(repository.metadata(), repository.app_key, old)


@broken
def witnesses_replaced_unseen(rng: random.Random) -> Case:
    repository = witnessed(rng)
    repository.name_witnesses("mal", quorum=1, seen_by=("mal",))
    return Case(repository.metadata(), repository.app_key)


@broken
def signers_rotated_unseen(rng: random.Random) -> Case:
    repository = witnessed(rng)
    repository.rotate(("mal",), 1, "hb2").release("secret")
    return first(repository)


def _root(rng: random.Random, edit: Callable[[dict[str, Any]], None]) -> Case:
    """Its first targets say nothing, so that nothing but the root can be wrong."""
    repository = WitnessedRepository()
    edit(repository["root"][FIELD])
    repository.recommit_root()
    return Case(repository.metadata(), repository.app_key)


@broken
def a_witness_under_two_names(rng: random.Random) -> Case:
    def edit(field: dict[str, Any]) -> None:
        field["keys"][2] = {"name": "Zoe", "public": field["keys"][0]["public"]}

    return _root(rng, edit)


@broken
def a_signer_who_is_a_witness(rng: random.Random) -> Case:
    name = rng.choice(("ada", "bob", "cyd", "hb"))
    return _root(rng, lambda field: field["keys"][0].update(public=public_hex(name)))


@broken
def a_quorum_of_half_of_the_witnesses(rng: random.Random) -> Case:
    return _root(rng, lambda field: field.update(field_of(("wim", "xia"), 1)))


@broken
def more_witnesses_than_may_be(rng: random.Random) -> Case:
    return _root(rng, lambda field: field.update(field_of(tuple(f"w{each}" for each in range(17)), 9)))


@broken
def a_witness_key_of_small_order(rng: random.Random) -> Case:
    return _root(rng, lambda field: field["keys"][0].update(public="01" + "00" * 31))


@broken
def a_field_more_about_witnesses(rng: random.Random) -> Case:
    return _root(rng, lambda field: field.update(note=""))
