"""Hostile metadata of channels with signers of their own, rollouts and revocations: one test per attack."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pearrt.errors import (
    BadSignature,
    DigestMismatch,
    Equivocation,
    Expired,
    LimitExceeded,
    ProtocolViolation,
    Rollback,
    ThresholdNotMet,
    TrustError,
)
from pearrt.trust.app import TrustedApp
from pearrt.trust.metadata_set import MetadataSet
from tests.support.metadata_channels import revocation, staged
from tests.support.refusal import install, refused
from tests.support.repository import (
    DAY,
    NOW,
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


@pytest.fixture
def repository() -> Repository:
    return Repository().release("1.0").delegate("beta", ("dan", "eve"), 2).release("2.0b", "beta/any")


# Who may speak for a channel.


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (["dan"], ThresholdNotMet),
        (["ada", "bob", "cyd"], ThresholdNotMet),
        (["hb"], ThresholdNotMet),
        ([], ThresholdNotMet),
        (["dan", "dan"], ProtocolViolation),
    ],
)
def test_a_channel_is_signed_by_a_threshold_of_its_own_signers_only(
    repository: Repository, names: list[str], error: type[Exception]
) -> None:
    repository.names["beta"] = names
    with refused(error):
        install(repository)


def test_no_flipped_bit_of_a_channel_gets_through(repository: Repository) -> None:
    metadata = repository.metadata()
    raw = metadata.delegated["beta"]
    for at in range(0, len(raw), 7):
        with pytest.raises((TrustError, ProtocolViolation)):
            TrustedApp.first(repository.app_key, with_blob(metadata, "beta", flip(raw, at)), NOW)
        repository.blob_edits["beta"] = lambda raw, at=at: flip(raw, at)  # with the heartbeat's help
        with pytest.raises((TrustError, ProtocolViolation)):
            install(repository)


def test_a_channel_cannot_release_for_another(repository: Repository) -> None:
    for path in ("stable/any", "stable/linux-x86_64", "betas/any", "beta", "beta/any/x", "x/beta/any"):
        stolen = repository.copy()
        stolen["beta"]["targets"][path] = index_target("6.6.6")
        with refused(ProtocolViolation, match="releases of the channel beta"):
            install(stolen)


def test_a_path_has_one_speaker(repository: Repository) -> None:
    repository["targets"]["targets"]["beta/any"] = index_target("6.6.6")
    with refused(ProtocolViolation, match="both speak for beta"):
        install(repository)


def test_a_channel_cannot_delegate_or_revoke(repository: Repository) -> None:
    for fields in (
        {"delegations": repository["targets"]["delegations"]},
        {"x-pearrt-revoked": [revocation("1.0")]},
    ):
        odd = repository.copy()
        odd["beta"] |= fields
        with refused(ProtocolViolation, match="targets role alone"):
            install(odd)


def test_a_stolen_heartbeat_is_no_signer_of_a_channel(repository: Repository) -> None:
    with refused(TrustError, match="heartbeat could install"):
        install(repository.delegate("beta", ("hb",), 1))


@pytest.mark.parametrize(
    "fields",
    [
        {"terminating": False},
        {"paths": ["*"]},
        {"paths": ["*/*"]},
        {"paths": ["beta/*", "stable/*"]},
        {"paths": ["stable/*"]},
        {"name": "stable"},
        {"name": "targets"},
        {"name": "root"},
        {"threshold": 0},
        {"threshold": 3},
        {"threshold": True},
        {"path_hash_prefixes": [""]},
        {"x-pearrt-since": 0},
    ],
)
def test_a_delegation_gives_exactly_its_channel(repository: Repository, fields: dict[str, Any]) -> None:
    repository.signed_edits["targets"] = lambda targets: targets["delegations"]["roles"][0].update(fields)
    with refused(ProtocolViolation):
        install(repository)


def test_one_key_under_two_ids_is_one_signer_of_a_channel(repository: Repository) -> None:
    delegations = repository["targets"]["delegations"]
    delegations["keys"]["a" * 64] = key_object(public_hex("dan"))
    delegations["roles"][0]["keyids"] = [key_id(public_hex("dan")), "a" * 64]
    with refused(ProtocolViolation, match="not its hash"):
        install(repository)


# What the snapshot and the set say of it.


def test_a_channel_that_is_missing_too_much_or_another_is_refused(repository: Repository) -> None:
    metadata = repository.metadata()
    blob = metadata.delegated["beta"]
    for delegated in ({}, {"night": blob}, {"beta": blob, "night": blob}):
        with refused(TrustError, match="exactly the channels"):
            TrustedApp.first(repository.app_key, replace(metadata, delegated=delegated), NOW)
    old = repository.copy().release("3.0b", "beta/any").metadata().delegated["beta"]
    with refused(DigestMismatch):
        TrustedApp.first(repository.app_key, with_blob(metadata, "beta", old), NOW)


def test_a_channel_that_the_snapshot_leaves_out_or_names_otherwise_is_refused(repository: Repository) -> None:
    gone, other = repository.copy(), repository.copy()
    gone.signed_edits["snapshot"] = lambda snapshot: snapshot["meta"].pop("beta.json")
    with refused(TrustError, match="does not name the metadata of the channel beta"):
        install(gone)
    other.link_edits["beta"] = lambda entry: entry.update(version=1)
    with refused(TrustError, match="beta metadata has version 2, not 1"):
        install(other)


def test_another_apps_channel_with_the_same_signers_is_refused(repository: Repository) -> None:
    repository["beta"]["x-pearrt-app"] = "f" * 32
    with refused(TrustError, match="beta metadata belongs to another app"):
        install(repository)


def test_a_channel_past_its_cap_and_a_ninth_channel_are_refused(repository: Repository) -> None:
    large = repository.copy()
    large["beta"]["x"] = "x" * 65536
    with refused(LimitExceeded):
        install(large)
    oversized = with_blob(repository.metadata(), "beta", b" " * 65537)
    with refused(LimitExceeded):
        MetadataSet.decode(oversized.encode())
    many = replace(repository.metadata(), delegated={f"c{number}": b"{}" for number in range(9)})
    with refused(LimitExceeded):
        MetadataSet.decode(many.encode())
    for number in range(8):
        repository.delegate(f"c{number}")
    with refused(ProtocolViolation, match="at most 8"):
        install(repository)


@pytest.mark.parametrize("name", ["root", "Beta", "be/ta", "../x", "", "\u0431eta", "b" * 33])
def test_a_set_names_channels_and_nothing_else(repository: Repository, name: str) -> None:
    bad = replace(repository.metadata(), delegated={name: b"{}"})
    with refused(ProtocolViolation, match="no channel"):
        MetadataSet.decode(bad.encode())


# Its past.


def test_an_older_channel_after_a_newer_is_refused_whoever_helps(repository: Repository) -> None:
    newer = repository.copy().release("3.0b", "beta/any")
    trusted = install(newer)
    older = repository.copy().bump().bump()  # a stolen heartbeat names the old one anew
    with refused(Rollback, match="names beta 2, 3 is trusted"):
        trusted.update(older.metadata(), NOW)
    signed_anew = older.copy().bump("targets", "targets")  # the app's signers help as well
    with refused(Rollback):
        trusted.update(signed_anew.metadata(), NOW)


def test_a_channel_of_one_version_with_two_contents_is_an_equivocation(repository: Repository) -> None:
    trusted, other = install(repository), repository.copy().bump()
    other["beta"]["x-other"] = 1
    with pytest.raises(Equivocation) as caught:
        trusted.update(other.metadata(), NOW)
    assert {caught.value.first, caught.value.second} == {
        repository.metadata().delegated["beta"],
        other.metadata().delegated["beta"],
    }


def test_a_channel_that_was_taken_back_does_not_return_with_an_old_release(repository: Repository) -> None:
    gone = repository.copy().release("3.0b", "beta/any").take_back("beta")
    trusted = install(gone)
    with refused(Rollback, match="names beta"):
        trusted.update(repository.copy().bump("targets", "targets", "targets").bump().bump().metadata(), NOW)
    forgetful = gone.copy().bump()
    del forgetful["snapshot"]["meta"]["beta.json"]
    with refused(Rollback, match="no longer names beta"):
        trusted.update(forgetful.metadata(), NOW)


def test_former_signers_of_a_channel_have_no_say(repository: Repository) -> None:
    trusted = install(repository.delegate("beta", ("gus",), 1))
    forged = repository.copy().release("6.6.6", "beta/any")
    forged.names["beta"] = ["dan", "eve"]
    with refused(ThresholdNotMet):
        trusted.update(forged.metadata(), NOW)
    spoilt = repository.copy().release("6.6.6", "beta/any")
    spoilt.blob_edits["beta"] = lambda raw: flip(raw, raw.index(b'"sig":"') + 10)
    with refused(BadSignature):
        trusted.update(spoilt.metadata(), NOW)


def test_a_channel_pushed_far_ahead_recovers_when_it_and_the_heartbeat_are_rotated(
    repository: Repository,
) -> None:
    pushed = repository.copy()
    pushed["beta"]["version"] = 2**53 - 1
    trusted = install(pushed)
    handed = repository.copy().delegate("beta", ("gus",), 1).release("3.0b", "beta/any").bump()
    with refused(Rollback):
        trusted.update(handed.metadata(), NOW)
    healed = repository.copy().rotate(repository.team, 2, "hb2").delegate("beta", ("gus",), 1)
    release = trusted.update(healed.release("3.0b", "beta/any").metadata(), NOW).release("beta")
    assert release is not None
    assert release.version == "3.0b"


def test_an_expired_channel_asks_for_the_persons_yes_and_stops_no_other(repository: Repository) -> None:
    repository["beta"]["expires"] = text_of(NOW - DAY)
    trusted = install(repository)
    trusted.check_expiry(NOW)
    with refused(Expired, match="beta metadata expired"):
        trusted.check_expiry(NOW, "beta")


# Rollouts and revocations.


def test_a_rollout_that_falls_or_passes_all_machines_is_refused(repository: Repository) -> None:
    step, later = {"at": text_of(NOW), "percent": 50}, {"at": text_of(NOW + DAY), "percent": 100}
    for rollout in ([], [later, step], [step, step], [step | {"percent": 101}], [step | {"percent": 0}], [1]):
        repository["targets"]["targets"]["stable/any"]["custom"]["rollout"] = rollout
        with refused(ProtocolViolation):
            install(repository)


def test_what_is_before_a_release_is_older_and_has_nothing_before_it(repository: Repository) -> None:
    deep = staged("3.0", "2.0")
    deep["custom"]["before"]["custom"]["before"] = staged("2.0", "1.0")["custom"]["before"]
    newer = staged("3.0", "2.0")
    newer["custom"]["before"]["custom"]["sequence"] = 99
    for target in (deep, newer):
        repository["targets"]["targets"]["stable/any"] = target
        with refused(ProtocolViolation, match="before"):
            install(repository)


def test_a_revocation_never_reaches_the_screen_with_escapes_nor_twice(repository: Repository) -> None:
    good = revocation("1.0")
    for field in ([good | {"reason": "\x1b]0;x\x07"}], [good, good], [good | {"action": "delete"}], {}):
        repository["targets"]["x-pearrt-revoked"] = field
        with refused(ProtocolViolation):
            install(repository)
    repository["targets"]["x-pearrt-revoked"] = [revocation(str(number)) for number in range(257)]
    with refused(ProtocolViolation, match="at most 256"):
        install(repository)


def test_a_revocation_is_not_undone_by_withholding_it(repository: Repository) -> None:
    before = repository.metadata()
    repository["targets"]["x-pearrt-revoked"] = [revocation("1.0")]
    trusted = install(repository.bump("targets"))
    with refused(Rollback):
        trusted.update(before, NOW)


def test_tombstones_of_channels_are_few(repository: Repository) -> None:
    repository["snapshot"]["meta"] |= {f"c{number}.json": meta_of(1, b"") for number in range(63)}
    with refused(ProtocolViolation, match="more than 64"):
        install(repository)
