"""The log of releases: nobody is shown a history of their own, and whoever tries leaves a proof."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pearrt.crypto.hashes import sha256
from pearrt.errors import (
    DigestMismatch,
    Equivocation,
    LimitExceeded,
    PearrtError,
    ProtocolViolation,
    ThresholdNotMet,
    TrustError,
)
from pearrt.trust.app import TrustedApp
from pearrt.trust.envelope import Envelope
from pearrt.trust.history import read_history
from pearrt.trust.log import LogHead, Statement, check_extends, check_log, shows_fork, statement_of
from pearrt.trust.merkle import leaf_hash
from pearrt.trust.metadata_set import MetadataSet
from tests.support.logged_repository import FIELD, LoggedRepository, tree_hash
from tests.support.repository import NOW, Repository


@pytest.fixture
def repository() -> LoggedRepository:
    return LoggedRepository().release("1.0").release("2.0").release("3.0")


def first(repository: Repository) -> TrustedApp:
    return TrustedApp.first(repository.app_key, repository.metadata(), NOW)


def fork_of(error: Equivocation) -> bool:
    before, after = (statement_of(Envelope.parse("targets", raw)) for raw in (error.first, error.second))
    return shows_fork(before, after, error.evidence)


# -- what is accepted


def test_an_update_may_skip_any_number_of_releases(repository: LoggedRepository) -> None:
    trusted = first(repository.copy())
    for version in range(4, 12):
        repository.release(f"{version}.0")
        assert trusted.update(repository.metadata(), NOW).targets.version == version + 1


def test_a_log_may_begin_late_and_then_stays(repository: LoggedRepository) -> None:
    old = Repository().release("1.0")
    trusted = first(old)
    late = LoggedRepository()
    late["targets"] = old["targets"] | {}
    late.release("2.0")
    late["snapshot"]["version"] = late["timestamp"]["version"] = 9
    late["targets"][FIELD]["signatures"] = {}
    updated = trusted.update(late.metadata(), NOW)
    assert updated.targets.version == 3
    late["targets"]["version"] = 4
    del late["targets"][FIELD]
    late.leaves = []
    late.beat()
    late["snapshot"]["version"] += 1
    with pytest.raises(TrustError, match="must stay"):
        updated.update(late.metadata(), NOW)


def test_a_set_with_a_log_is_the_same_after_a_restart(repository: LoggedRepository) -> None:
    trusted = first(repository)
    again = TrustedApp.restore(repository.app_key, trusted.state())
    assert again.metadata.logs == {"targets": b"".join(repository.leaves)}
    assert MetadataSet.decode(repository.metadata().encode()) == repository.metadata()


def test_after_a_theft_a_rotation_begins_anew_from_what_the_team_published(
    repository: LoggedRepository,
) -> None:
    stolen = repository.copy().release("secret")
    victim = first(stolen)
    repository.release("4.0")
    repository.rotate(("dan", "eve", "fay"), 2, "hb2")
    for role in ("targets", "snapshot", "timestamp"):
        repository[role]["version"] += 1
    leaves = [*repository.leaves]
    repository["targets"]["version"] -= 1
    assert victim.update(repository.metadata(), NOW).targets.version == 5
    assert repository.leaves == leaves


def history(payloads: list[bytes]) -> list[tuple[Statement, bytes]]:
    """A statement for each payload, from version 1, and the leaf hashes that go with it."""
    leaves = [leaf_hash(payload) for payload in payloads]
    return [
        (Statement(payload, at + 1, payload, LogHead(at, tree_hash(leaves[:at]))), b"".join(leaves[:at]))
        for at, payload in enumerate(payloads)
    ]


@pytest.mark.parametrize("size", range(1, 18))
def test_a_history_grows_from_every_earlier_size(size: int) -> None:
    told = history([b"%d" % number for number in range(size)])
    after, later_log = told[-1]
    check_log(after, later_log)
    for before, log in told:
        check_extends(before, log, after, later_log)


# -- forks


@pytest.mark.parametrize("changed", range(11))
def test_a_changed_past_is_found_by_everyone_who_saw_it(changed: int) -> None:
    payloads = [b"%d" % number for number in range(12)]
    forged = [*payloads[:changed], b"secret", *payloads[changed + 1 :]]
    after, later_log = history(forged)[-1]
    check_log(after, later_log)
    for before, log in history(payloads)[:-1]:
        if before.version <= changed:
            check_extends(before, log, after, later_log)
            continue
        with pytest.raises(Equivocation) as refused:
            check_extends(before, log, after, later_log)
        assert shows_fork(before, after, refused.value.evidence)


def test_a_secret_release_to_one_person_is_found_with_the_next_release(repository: LoggedRepository) -> None:
    """A quorum of stolen keys signs a version for one victim; everyone else gets another of that version."""
    secret = repository.copy().release("3.1-secret")
    victim = first(secret)
    repository.release("4.0").release("5.0")
    with pytest.raises(Equivocation, match="others never saw") as refused:
        victim.update(repository.metadata(), NOW)
    assert fork_of(refused.value)
    assert len(refused.value.evidence) < 1000


@pytest.mark.parametrize("changed", range(4))
def test_a_release_of_the_past_cannot_be_exchanged(repository: LoggedRepository, changed: int) -> None:
    trusted = first(repository)
    repository.release("4.0").release("5.0")
    repository.leaves[changed] = sha256(b"another")
    repository["targets"][FIELD]["root"] = tree_hash(repository.leaves).hex()
    with pytest.raises(Equivocation) as refused:
        trusted.update(repository.metadata(), NOW)
    assert fork_of(refused.value)


def test_a_history_cannot_be_truncated(repository: LoggedRepository) -> None:
    trusted = first(repository)
    repository.release("4.0")
    repository.leaves = repository.leaves[2:]
    repository["targets"][FIELD] |= {"size": 2, "root": tree_hash(repository.leaves).hex()}
    with pytest.raises(Equivocation) as refused:
        trusted.update(repository.metadata(), NOW)
    assert refused.value.evidence == b""
    assert fork_of(refused.value)


def test_a_proof_of_a_fork_convinces_nobody_once_it_is_changed(repository: LoggedRepository) -> None:
    victim = first(repository.copy().release("secret"))
    repository.release("4.0").release("5.0")
    with pytest.raises(Equivocation) as refused:
        victim.update(repository.metadata(), NOW)
    error = refused.value
    for at in range(len(error.evidence)):
        bent = error.evidence[:at] + bytes([error.evidence[at] ^ 1]) + error.evidence[at + 1 :]
        try:
            assert not fork_of(Equivocation("", first=error.first, second=error.second, evidence=bent))
        except (ProtocolViolation, LimitExceeded):
            continue
    assert not fork_of(Equivocation("", first=error.second, second=error.first, evidence=error.evidence))
    with pytest.raises(LimitExceeded):
        fork_of(Equivocation("", first=error.first, second=error.second, evidence=bytes(4096)))


def test_two_statements_of_one_honest_history_show_no_fork(repository: LoggedRepository) -> None:
    before = statement_of(Envelope.parse("targets", repository.metadata().targets))
    after = statement_of(Envelope.parse("targets", repository.release("4.0").metadata().targets))
    assert not shows_fork(before, after, b"")


# -- what does not fit


@pytest.mark.parametrize(
    "bend",
    [
        lambda log: log[:-32],
        lambda log: log + bytes(32),
        lambda log: bytes(32) + log[32:],
        lambda log: b"",
        lambda log: log[32:64] + log[:32] + log[64:],
    ],
    ids=["shorter", "longer", "wrong leaf", "none", "another order"],
)
def test_leaf_hashes_that_do_not_give_the_signed_root_are_refused(
    repository: LoggedRepository, bend: Callable[[bytes], bytes]
) -> None:
    good = repository.metadata()
    log = bend(good.logs["targets"])
    with pytest.raises(DigestMismatch, match="log of releases"):
        TrustedApp.first(repository.app_key, replace(good, logs={"targets": log} if log else {}), NOW)


def test_a_log_that_belongs_to_nothing_is_refused(repository: LoggedRepository) -> None:
    good = repository.metadata()
    other = replace(good, logs={**good.logs, "beta": bytes(32)})
    with pytest.raises(DigestMismatch, match="none of the metadata"):
        TrustedApp.first(repository.app_key, other, NOW)
    plain = Repository().release("1.0")
    with pytest.raises(DigestMismatch):
        TrustedApp.first(plain.app_key, replace(plain.metadata(), logs={"targets": bytes(32)}), NOW)


@pytest.mark.parametrize(
    "bend",
    [
        {"size": -1},
        {"size": True},
        {"size": 4},
        {"size": 2**40},
        {"root": "AB" * 32},
        {"root": "ab"},
        {"signatures": []},
        {"signatures": {"x": "00" * 64}},
        {"signatures": {"00" * 32: "zz" * 64}},
        {"signatures": {f"{number:064x}": "00" * 64 for number in range(17)}},
        {"more": 1},
    ],
)
def test_a_malformed_head_is_refused(repository: LoggedRepository, bend: dict[str, Any]) -> None:
    repository["targets"][FIELD] |= bend
    with pytest.raises((ProtocolViolation, LimitExceeded)):
        first(repository)


def test_a_set_with_malformed_logs_is_refused_before_anything_else(repository: LoggedRepository) -> None:
    from pearrt.codec import bencode

    good = bencode.decode(repository.metadata().encode(), max_depth=2)
    for logs in ({}, [], {b"targets": b""}, {b"targets": 1}, {b"%d" % n: b"x" for n in range(65)}):
        with pytest.raises((ProtocolViolation, LimitExceeded)):
            MetadataSet.decode(bencode.encode(good | {b"logs": logs}))


# -- reading it


def test_the_history_names_who_signed_each_release_under_the_root_of_its_time(
    repository: LoggedRepository,
) -> None:
    repository.rotate(("dan", "eve", "fay"), 2)
    repository.release("4.0").release("5.0")
    past = read_history(first(repository), "targets", repository.blocks().get)
    assert [each.version for each in past] == [1, 2, 3, 4, 5, 6]
    assert [each.root_version for each in past] == [1, 1, 1, 2, 2, 2]  # the rotation signs version 4 anew
    assert all(len(each.signed_by) == each.threshold == 2 for each in past)


def test_a_leaf_that_is_not_at_hand_leaves_a_gap_and_nothing_else(repository: LoggedRepository) -> None:
    blocks = repository.blocks()
    del blocks[repository.leaves[2]]
    past = read_history(first(repository), "targets", blocks.get)
    assert [each.targets is not None for each in past] == [True, False, False, True]
    assert past[2].leaf == repository.leaves[2]


def test_another_leaf_is_refused(repository: LoggedRepository) -> None:
    blocks = dict.fromkeys(repository.blocks(), b"\x00{}")
    with pytest.raises(DigestMismatch, match="leaf"):
        read_history(first(repository), "targets", blocks.get)


def test_a_past_that_too_few_signed_is_refused(repository: LoggedRepository) -> None:
    """Someone with the keys of today writes a version into the past that nobody signed then."""
    repository["targets"][FIELD]["signatures"] = {}
    with pytest.raises(ThresholdNotMet, match="0 of 2"):
        read_history(first(repository), "targets", repository.blocks().get)


def test_an_old_teams_signature_does_not_make_a_release_of_the_new_team(repository: LoggedRepository) -> None:
    repository.rotate(("dan", "eve", "fay"), 2)
    repository.release("4.0")
    repository.names["targets"] = ["ada", "bob"]  # revoked
    repository.release("5.0")
    repository.names["targets"] = ["dan", "eve"]
    repository.release("6.0")
    with pytest.raises(PearrtError):
        read_history(first(repository), "targets", repository.blocks().get)


def test_the_leaf_is_the_id_of_a_block(repository: LoggedRepository) -> None:
    for leaf, block in repository.blocks().items():
        assert sha256(block) == leaf == leaf_hash(block[1:])
