"""Classes of metadata sets, seeded: the corpus that the verifier and python-tuf are both shown.

A maker takes a `random.Random` and returns a Case. The `valid` ones must be accepted by both verifiers, the
`broken` ones refused by ours, whatever python-tuf says. The name of a class says what it is or what is wrong.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pearrt.trust.metadata_set import MetadataSet
from tests.support.repository import (
    NOW,
    Document,
    Repository,
    canonical,
)

L = 2**252 + 27742317777372353535851937790883648493
NAMES = ("ada", "bob", "cyd", "dan", "eve")
ONLINE = ("timestamp", "snapshot")


@dataclass(frozen=True, slots=True)
class Case:
    """`old` is what the client trusts already, None for a new install. `app_key` is the link."""

    new: MetadataSet
    app_key: bytes
    old: MetadataSet | None = None
    now: float = NOW


Maker = Callable[[random.Random], Case]
VALID: dict[str, Maker] = {}
BROKEN: dict[str, Maker] = {}
EITHER: dict[str, Maker] = {}


def valid(make: Maker) -> Maker:
    VALID[make.__name__.replace("_", " ")] = make
    return make


def broken(make: Maker) -> Maker:
    BROKEN[make.__name__.replace("_", " ")] = make
    return make


def either(make: Maker) -> Maker:
    EITHER[make.__name__.replace("_", " ")] = make
    return make


def cases(kind: dict[str, Maker], each: int, seed: int = 1) -> Iterator[tuple[str, Case]]:
    for name, make in kind.items():
        for number in range(each):
            yield name, make(random.Random(f"{seed} {name} {number}"))


def fresh(repository: Repository, **changes: Any) -> Case:
    return Case(repository.metadata(), repository.app_key, **changes)


def released(rng: random.Random) -> Repository:
    return Repository().release(f"1.{rng.randrange(100)}")


def team(rng: random.Random) -> Repository:
    size = rng.randint(1, 5)
    return Repository(NAMES[:size], rng.randint(1, size))


def bend_root(rng: random.Random, edit: Callable[[Document], None], *names: str) -> Case:
    """Root 1 itself is bent, so it is rightly signed and its own link's."""
    repository = released(rng)
    edit(repository["root"])
    repository.recommit_root(*names)
    return fresh(repository)


def bend(rng: random.Random, role: str, fields: Document) -> Case:
    """A role says something else, rightly signed."""
    repository = released(rng)
    repository[role].update(fields)
    if role == "root":
        repository.recommit_root()
    return fresh(repository)


def edit_blob(rng: random.Random, role: str, edit: Callable[[bytes], bytes]) -> Case:
    """A blob's bytes change; what hashes it is signed anew, as a thief of the heartbeat key could."""
    repository = released(rng)
    repository.blob_edits[role] = edit
    return fresh(repository)


def edit_envelope(rng: random.Random, role: str, edit: Callable[[Document], None]) -> Case:
    def change(raw: bytes) -> bytes:
        value = json.loads(raw)
        edit(value)
        return canonical(value)

    return edit_blob(rng, role, change)


def updating(old: Repository, new: Repository) -> Case:
    return Case(new.metadata(), new.app_key, old.metadata())
