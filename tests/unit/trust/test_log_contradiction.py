"""Proofs of contradicting statements: what holds, what proves nothing, and who is to blame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pearrt.codec import bencode
from pearrt.errors import (
    BadSignature,
    Equivocation,
    LimitExceeded,
    ProtocolViolation,
    RemoteError,
    ThresholdNotMet,
    TrustError,
)
from pearrt.trust.app import TrustedApp
from pearrt.trust.contradiction import MAX_PROOF_BYTES, Contradiction
from tests.support.logged_repository import LoggedRepository
from tests.support.repository import NOW, Repository, flip


@pytest.fixture
def repository() -> LoggedRepository:
    return LoggedRepository().release("1.0").release("2.0")


def first(repository: Repository) -> TrustedApp:
    return TrustedApp.first(repository.app_key, repository.metadata(), NOW)


def same_version(repository: Repository, role: str) -> Contradiction:
    other = repository.copy()
    other[role]["x-other"] = 1
    return Contradiction(getattr(repository.metadata(), role), getattr(other.metadata(), role))


def fork(repository: LoggedRepository) -> Contradiction:
    victim = first(repository.copy().release("secret"))
    repository.release("3.0").release("4.0")
    with pytest.raises(Equivocation) as found:
        victim.update(repository.metadata(), NOW)
    return Contradiction(found.value.first, found.value.second, found.value.evidence)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_two_contents_of_one_version_are_proven(repository: LoggedRepository, role: str) -> None:
    proof = same_version(repository, role)
    proof.check(first(repository))
    assert Contradiction.decode(proof.encode()) == proof
    assert f"two different {role} metadata" in proof.describe()


def test_two_histories_are_proven_to_anyone_with_the_root(repository: LoggedRepository) -> None:
    bystander = first(repository)
    proof = Contradiction.decode(fork(repository).encode())
    proof.check(bystander)
    assert "different histories" in proof.describe()
    assert len(proof.encode()) < 6000


def test_a_proof_that_proves_nothing_is_its_tellers_fault(repository: LoggedRepository) -> None:
    trusted = first(repository)
    good = repository.metadata()
    later = repository.release("3.0").metadata()
    other_app = Repository(app_id="ff" * 16).release("1.0")
    for false in (
        Contradiction(good.targets, good.targets),
        Contradiction(good.targets, later.targets),  # one honest history
        Contradiction(good.targets, good.snapshot),
        Contradiction(good.timestamp, later.timestamp),
        Contradiction(b"{}", good.targets),
        Contradiction(good.targets, b"\xff"),
        replace(same_version(repository, "targets"), evidence=b"x"),
        same_version(other_app, "targets"),
    ):
        with pytest.raises((ProtocolViolation, LimitExceeded, BadSignature)):
            false.check(trusted)


def test_a_forged_statement_is_its_tellers_fault(repository: LoggedRepository) -> None:
    proof = same_version(repository, "targets")
    raw = proof.second
    bad = replace(proof, second=flip(raw, raw.index(b'"sig":"') + 8))
    with pytest.raises((BadSignature, ProtocolViolation)):
        bad.check(first(repository))


@pytest.mark.parametrize(
    "signers",
    [lambda repository: repository.names.update(targets=["ada"])],
    ids=["one of two"],
)
def test_a_statement_that_too_few_signed_proves_nothing(
    repository: LoggedRepository, signers: Callable[[LoggedRepository], None]
) -> None:
    trusted = first(repository)
    good = repository.metadata().targets
    signers(repository)
    repository["targets"]["x-other"] = 1
    with pytest.raises(TrustError):
        Contradiction(good, repository.metadata().targets).check(trusted)


def test_keys_that_were_rotated_away_raise_no_alarm_any_more(repository: LoggedRepository) -> None:
    stolen = same_version(repository, "targets")
    repository.rotate(("dan", "eve", "fay"), 2, "hb2").release("3.0")
    with pytest.raises(ThresholdNotMet):
        stolen.check(first(repository))


def test_any_change_of_a_proof_is_noticed(repository: LoggedRepository) -> None:
    bystander = first(repository)
    encoded = fork(repository).encode()
    for at in range(0, len(encoded), 7):
        try:
            bent = Contradiction.decode(flip(encoded, at))
            bent.check(bystander)
        except (RemoteError, TrustError):
            continue
        raise AssertionError(f"byte {at} of the proof does not matter")


def test_a_proof_is_bounded_before_it_is_parsed() -> None:
    with pytest.raises(LimitExceeded):
        Contradiction.decode(bytes(MAX_PROOF_BYTES + 1))
    for junk in (b"", b"le", bencode.encode([b"a", b"b"]), bencode.encode([b"a", 1, b""])):
        with pytest.raises((ProtocolViolation, LimitExceeded)):
            Contradiction.decode(junk)


def two_roles(same_team: bool) -> tuple[Repository, Contradiction]:
    """An app whose channel and whose targets role speak at one version, each honestly."""
    repository = Repository().release("1.0")
    repository.delegate("beta", ("ada", "bob", "cyd") if same_team else ("dan", "eve"), 2)
    repository.release("1.1b", "beta/any")
    repository["beta"]["version"] = repository["targets"]["version"]
    metadata = repository.metadata()
    return repository, Contradiction(metadata.targets, metadata.delegated["beta"])


@pytest.mark.parametrize("same_team", [True, False])
def test_a_channel_and_the_targets_role_do_not_contradict_each_other(same_team: bool) -> None:
    """Even where one team signs both, with one version: they speak for different paths."""
    repository, proof = two_roles(same_team)
    with pytest.raises(ThresholdNotMet):
        proof.check(first(repository))


def test_a_channel_that_contradicts_itself_is_proven() -> None:
    repository, _ = two_roles(same_team=False)
    other = repository.copy()
    other["beta"]["x-other"] = 1
    metadata, bent = repository.metadata(), other.metadata()
    Contradiction(metadata.delegated["beta"], bent.delegated["beta"]).check(first(repository))


def test_a_statement_that_names_nothing_is_nobodys_where_there_are_channels() -> None:
    repository, _ = two_roles(same_team=True)
    repository["beta"]["targets"] = {}
    other = repository.copy()
    other["beta"]["x-other"] = 1
    with pytest.raises(ThresholdNotMet):
        Contradiction(repository.metadata().delegated["beta"], other.metadata().delegated["beta"]).check(
            first(repository)
        )
