"""Metadata sets that commit to a log of their past: honest ones, and those that tell another past."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pearrt.trust.metadata_set import MetadataSet
from tests.support.logged_repository import FIELD, LoggedRepository, tree_hash
from tests.support.metadata_cases import Case, broken, valid
from tests.support.repository import Repository


def logged(rng: random.Random, releases: int = 3) -> LoggedRepository:
    repository = LoggedRepository()
    for number in range(releases):
        repository.release(f"1.{number}.{rng.randrange(100)}")
    return repository


def updating(old: MetadataSet, repository: Repository, new: MetadataSet | None = None) -> Case:
    return Case(new or repository.metadata(), repository.app_key, old)


@valid
def with_a_log(rng: random.Random) -> Case:
    repository = logged(rng, rng.randint(1, 9))
    return Case(repository.metadata(), repository.app_key)


@valid
def a_log_that_grew_by_several_releases(rng: random.Random) -> Case:
    repository = logged(rng, rng.randint(1, 5))
    old = repository.metadata()
    for number in range(rng.randint(1, 5)):
        repository.release(f"2.{number}")
    return updating(old, repository)


@valid
def a_log_through_a_rotation(rng: random.Random) -> Case:
    repository = logged(rng)
    old = repository.metadata()
    repository.rotate(("dan", "eve", "fay"), 2, "hb2").release("2.0")
    return updating(old, repository)


@broken
def another_release_of_the_past_in_the_log(rng: random.Random) -> Case:
    repository = logged(rng)
    old = repository.metadata()
    repository.release("2.0").release("2.1")
    _rewrite(repository, lambda leaves: leaves.__setitem__(rng.randrange(4), rng.randbytes(32)))
    return updating(old, repository)


@broken
def a_release_that_was_given_to_one_person_only(rng: random.Random) -> Case:
    repository = logged(rng)
    secret = repository.copy().release("1.9-secret").metadata()
    repository.release("2.0").release("2.1")
    return updating(secret, repository)


@broken
def a_truncated_log(rng: random.Random) -> Case:
    repository = logged(rng)
    old = repository.metadata()
    repository.release("2.0")
    _rewrite(repository, lambda leaves: leaves.__delitem__(slice(rng.randint(1, 3))))
    return updating(old, repository)


@broken
def a_log_that_is_gone(rng: random.Random) -> Case:
    repository = logged(rng)
    old = repository.metadata()
    repository.release("2.0")
    del repository["targets"][FIELD]
    repository.leaves = []
    return updating(old, repository)


@broken
def leaf_hashes_that_are_not_the_logs(rng: random.Random) -> Case:
    repository = logged(rng)
    good = repository.metadata()
    log = good.logs["targets"]
    bent = rng.choice([log[32:], log + bytes(32), rng.randbytes(len(log)), b""])
    return Case(replace(good, logs={"targets": bent} if bent else {}), repository.app_key)


@broken
def leaf_hashes_without_a_log(rng: random.Random) -> Case:
    repository = Repository().release("1.0")
    logs = {rng.choice(["targets", "beta"]): rng.randbytes(32)}
    return Case(replace(repository.metadata(), logs=logs), repository.app_key)


@broken
def a_log_larger_than_its_past(rng: random.Random) -> Case:
    return _with_head(rng, {"size": rng.choice([4, 5, 2**53 - 1])})


@broken
def a_misspelt_head_of_a_log(rng: random.Random) -> Case:
    return _with_head(
        rng, rng.choice([{"size": True}, {"root": "AB" * 32}, {"signatures": []}, {"more": 1}, {"size": -1}])
    )


def _with_head(rng: random.Random, fields: dict[str, Any]) -> Case:
    repository = logged(rng, 2)
    repository["targets"][FIELD] |= fields
    return Case(repository.metadata(), repository.app_key)


def _rewrite(repository: LoggedRepository, edit: Callable[[list[bytes]], None]) -> None:
    """Another past, with a head that fits it."""
    edit(repository.leaves)
    head = {"size": len(repository.leaves), "root": tree_hash(repository.leaves).hex()}
    repository["targets"][FIELD] |= head
