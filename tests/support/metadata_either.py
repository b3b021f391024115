"""Metadata bent at random: nobody knows beforehand if it is valid. What we accept, python-tuf must accept."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from tests.support.metadata_cases import NAMES, Case, either, fresh, released
from tests.support.metadata_channels import with_channel
from tests.support.repository import APP_ID, DAY, NOW, ROLES, Document, Repository, plain, text_of

Place = tuple[Any, Any]  # a container and a key or position in it


def places(value: Any) -> Iterator[Place]:
    """Every place of a tree where something stands."""
    steps = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    for key, inner in steps:
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


def odd_value(rng: random.Random, old: Any) -> Any:
    numbers = [0, 1, 2, 3, -1, 2**31, 2**53 - 1, 2**53, True, False, None, rng.randrange(2**40)]
    texts = [
        "",
        "x",
        "root",
        "targets",
        "0" * 64,
        "1.0",
        "1.0.34",
        "1.1.1",
        "a\nb",
        "é",
        "\u202e",
        "\x00",
        APP_ID,
    ]
    texts += [text_of(NOW + DAY), text_of(NOW - DAY), "2031-01-01T00:00:00Z ", "ed25519", "sha256"]
    trees: list[Any] = [[], {}, [old], {"x": old}, [old, old]]
    if isinstance(old, str) and old:
        texts += [old.upper(), old + " ", old[:-1], old.replace("0", "1"), old + old]
    if isinstance(old, int):
        numbers += [old + 1, old - 1, -old]
    return rng.choice([*numbers, *texts, *trees])


def bend(rng: random.Random, document: Document) -> None:
    """One change, anywhere: another value, something left out, or something more."""
    container, key = rng.choice(list(places(document)))
    change = rng.random()
    if change < 0.6:
        container[key] = odd_value(rng, container[key])
    elif change < 0.8:
        del container[key]
    elif isinstance(container, dict):
        field = rng.choice(["x", "x-pearrt-later", "delegations", "hashes", "length", "name"])
        container[field] = odd_value(rng, 1)
    else:
        container.append(odd_value(rng, container[key]))


@either
def one_change_anywhere_and_rightly_signed(rng: random.Random) -> Case:
    repository = released(rng)
    role = rng.choice(ROLES)
    if role == "root":
        bend(rng, repository["root"])
        repository.recommit_root()
    else:
        repository.signed_edits[role] = lambda document: bend(rng, document)
    return fresh(repository)


@either
def one_change_anywhere_in_an_entry_that_names_a_blob(rng: random.Random) -> Case:
    repository = released(rng)
    repository.link_edits[rng.choice(["snapshot", "targets"])] = lambda entry: bend(rng, entry)
    return fresh(repository)


@either
def one_change_anywhere_after_signing(rng: random.Random) -> Case:
    def edit(raw: bytes) -> bytes:
        value = json.loads(raw)
        bend(rng, value)
        return plain(value)

    repository = released(rng)
    repository.blob_edits[rng.choice(ROLES)] = edit
    return fresh(repository)


@either
def one_change_anywhere_with_a_channel_and_rightly_signed(rng: random.Random) -> Case:
    repository = with_channel(rng)
    role = rng.choice(["targets", "beta", "beta", "snapshot"])
    repository.signed_edits[role] = lambda document: bend(rng, document)
    return fresh(repository)


@either
def two_random_histories_of_one_app(rng: random.Random) -> Case:
    """A client that followed one of them is offered the other, or a state of its own past or future."""
    base = rng.choice([released, with_channel])(rng)
    for _ in range(rng.randint(0, 2)):
        live(rng, base)
    old, new = base.copy(), base.copy()
    for _ in range(rng.randint(0, 3)):
        live(rng, old)
    if rng.random() < 0.4:
        new = old.copy()
    for _ in range(rng.randint(0, 3)):
        live(rng, new)
    return Case(new.metadata(), base.app_key, old.metadata())


def live(rng: random.Random, repository: Repository) -> None:
    """One step in an app's life, honest or not."""
    step = rng.randrange(9 if repository.channels else 7)
    if step == 0:
        repository.beat()
    elif step <= 2:
        repository.release(f"{rng.randrange(100)}")
    elif step == 3:
        repository.rotate(tuple(rng.sample(NAMES, 3)), rng.randint(1, 3), repository.names["timestamp"][0])
    elif step == 4:
        repository.rotate(repository.team, repository.threshold, rng.choice(["hb", "hb2"]))
    elif step == 5:
        role = rng.choice([*ROLES[1:], *repository.channels])
        repository[role]["version"] = max(1, repository[role]["version"] + rng.randint(-2, 3))
    elif step == 6:
        repository.delegate("beta", tuple(rng.sample(NAMES, 2)), rng.randint(1, 2))
    elif step == 7:
        repository.release(f"{rng.randrange(100)}", f"{repository.channels[0]}/any")
    else:
        repository.take_back(repository.channels[0])
