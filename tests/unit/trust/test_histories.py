"""Whatever a client is offered in whatever order, what it trusts only moves forward."""

from __future__ import annotations

import contextlib
import random

import pytest

from pearrt.errors import RemoteError, TrustError
from pearrt.trust.app import TrustedApp, Verdict
from pearrt.trust.metadata_set import MetadataSet
from tests.support.metadata_either import live
from tests.support.repository import DAY, NOW, Repository


def offers(rng: random.Random) -> tuple[bytes, list[MetadataSet]]:
    """The app key, and sets of two branches of one app's life, shuffled."""
    base = Repository().release("1.0")
    branches = [base, base.copy()]
    found = [base.metadata()]
    for _ in range(10):
        branch = rng.choice(branches)
        live(rng, branch)
        found.append(branch.metadata())
    first, rest = found[0], found[1:]
    rng.shuffle(rest)
    return base.app_key, [first, *rest]


@pytest.mark.parametrize("seed", range(25))
def test_trust_only_moves_forward(seed: int) -> None:
    app_key, sets = offers(random.Random(seed))
    trusted = TrustedApp.first(app_key, sets[0], NOW)
    accepted = 0
    for number, metadata in enumerate(sets[1:], 1):
        before, now = trusted, NOW + number * DAY / 10
        with contextlib.suppress(TrustError, RemoteError):
            trusted = before.update(metadata, now)
            accepted += 1
        assert trusted.time_floor >= before.time_floor
        assert trusted.metadata.roots[: before.root_version] == before.metadata.roots
        same_keys = trusted.root.authorities["snapshot"] == before.root.authorities["snapshot"]
        if same_keys:
            assert trusted.timestamp.version >= before.timestamp.version
            assert trusted.snapshot.version >= before.snapshot.version
            assert trusted.targets.version >= before.targets.version
        assert TrustedApp.restore(app_key, trusted.state()) == trusted
    assert trusted.check_timestamp(trusted.metadata.timestamp, NOW) is Verdict.SAME


@pytest.mark.parametrize("seed", range(25))
def test_clients_that_saw_the_same_honest_sets_in_any_order_agree(seed: int) -> None:
    """One publisher, no forks: the newest set wins, whatever came in between."""
    rng = random.Random(seed)
    repository = Repository().release("1.0")
    sets = [repository.metadata()]
    for number in range(8):
        step = rng.randrange(3)
        if step == 0:
            repository.beat()
        elif step == 1:
            repository.release(f"1.{number}")
        else:
            heartbeat = rng.choice(["hb", "hb2"])
            repository.rotate(tuple(rng.sample(("ada", "bob", "cyd", "dan"), 3)), 2, heartbeat).release("2.0")
        sets.append(repository.metadata())
    clients = []
    for _ in range(3):
        order = rng.sample(sets, len(sets))
        client = TrustedApp.first(repository.app_key, order[0], NOW)
        for metadata in order[1:]:
            with contextlib.suppress(TrustError):
                client = client.update(metadata, NOW)
        clients.append(client)
    newest = TrustedApp.first(repository.app_key, sets[-1], NOW)
    assert {client.timestamp.envelope.payload for client in clients} == {newest.timestamp.envelope.payload}
    assert {client.root_version for client in clients} == {newest.root_version}
