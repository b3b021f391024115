"""Hostile metadata, what came before it and whose it is: one test per attack."""

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
from pearrt.trust.app import TrustedApp, Verdict
from tests.support.refusal import bent, each_role, install, refused, saying
from tests.support.repository import (
    DAY,
    NOW,
    ROLES,
    Repository,
    flip,
    key_id,
    key_object,
    public_hex,
    text_of,
    with_blob,
)


@pytest.fixture
def repository() -> Repository:
    return Repository().release("1.0")


# Versions.


@pytest.mark.parametrize(
    "order", [(0, 1, 3), (0, 2), (0, 1, 1, 2, 3), (0, 2, 1, 3), (0, 0, 1, 2, 3), (1, 2, 3), (3,), ()]
)
def test_a_root_chain_that_skips_or_repeats_a_version_is_refused(order: tuple[int, ...]) -> None:
    repository = Repository().rotate(("ada", "bob", "dan"), 2, times=3).release("1.0")
    metadata = repository.metadata()
    with refused(TrustError):
        TrustedApp.first(
            repository.app_key,
            replace(metadata, roots=tuple(metadata.roots[number] for number in order)),
            NOW,
        )


@pytest.mark.parametrize(
    "names", [("ada", "bob"), ("dan", "eve"), ("ada", "dan"), ("ada", "dan", "eve"), ("ada", "bob", "eve")]
)
def test_a_root_signed_only_by_the_old_or_only_by_the_new_keys_is_refused(names: tuple[str, ...]) -> None:
    repository = Repository().rotate(("dan", "eve"), 2)
    repository.recommit_root(*names)
    with refused(ThresholdNotMet):
        install(repository.release("1.0"))


def test_a_chain_of_300_roots_is_refused_one_of_256_steps_is_not() -> None:
    solo = Repository(("ada",), 1).rotate(("ada",), 1, times=256).release("1.0")
    assert install(solo).root_version == 257
    with refused(LimitExceeded):
        install(solo.copy().rotate(("ada",), 1, times=1))
    with refused(LimitExceeded):
        install(solo.rotate(("ada",), 1, times=43))


@each_role
@pytest.mark.parametrize("version", [2**53, 2**63, 2**64, 0, -1, True, "1"])
def test_a_version_that_is_no_positive_integer_below_2_to_53_is_refused(
    repository: Repository, role: str, version: Any
) -> None:
    with refused(ProtocolViolation):
        install(saying(repository, role, {"version": version}))


@pytest.mark.parametrize("back", ["timestamp", "release", "inside"])
def test_an_older_set_after_a_newer_is_refused_and_the_newer_stays(repository: Repository, back: str) -> None:
    older = repository.metadata()
    newer = repository.copy().beat() if back == "timestamp" else repository.copy().release("2.0")
    trusted = install(newer)
    if back == "inside":  # with the heartbeat's key, old releases can be named by a new timestamp
        repository["timestamp"]["version"] = 99
        older = repository.metadata()
    with refused(Rollback):
        trusted.update(older, NOW)
    assert trusted.release() == install(newer).release()


TEAM, OTHERS = ("ada", "bob", "cyd"), ("dan", "eve", "fay")


@pytest.mark.parametrize(("signers", "heartbeat"), [(TEAM, "hb2"), (OTHERS, "hb"), (OTHERS, "hb2")])
def test_who_missed_a_change_of_keys_offers_something_older(
    repository: Repository, signers: tuple[str, ...], heartbeat: str
) -> None:
    older = repository.metadata()
    trusted = install(repository.copy().rotate(signers, 2, heartbeat).release("2.0"))
    for offered in (older, replace(older, roots=())):
        with refused(Rollback):
            trusted.update(offered, NOW)


def test_what_former_keys_sign_after_the_change_is_not_merely_older(repository: Repository) -> None:
    thief = repository.copy()
    trusted = install(repository.rotate(OTHERS, 2, "hb2").release("2.0"))
    for _ in range(3):
        thief.release("6.6.6")
    with refused(ThresholdNotMet):
        trusted.update(thief.metadata(), NOW)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_one_version_with_two_contents_is_an_equivocation_that_keeps_both_as_proof(
    repository: Repository, role: str
) -> None:
    trusted = install(repository)
    other = repository.copy()
    other[role]["x-other"] = 1
    later = {"timestamp": (), "snapshot": ("timestamp",), "targets": ("timestamp", "snapshot")}
    for above in later[role]:
        other[above]["version"] += 1
    with pytest.raises(Equivocation) as caught:
        trusted.update(other.metadata(), NOW)
    assert {caught.value.first, caught.value.second} == {
        getattr(trusted.metadata, role),
        getattr(other.metadata(), role),
    }


def test_two_roots_of_one_version_are_an_equivocation() -> None:
    ours = Repository().rotate(("ada", "bob", "dan"), 2).release("1.0")
    theirs = Repository().rotate(("ada", "bob", "eve"), 2).release("1.0")
    trusted = install(ours)
    with pytest.raises(Equivocation) as caught:
        trusted.update(theirs.metadata(), NOW)
    assert (caught.value.first, caught.value.second) == (ours.roots[1], theirs.roots[1])
    assert trusted.root.envelope.raw == ours.roots[1]


def test_a_forged_second_root_is_no_proof_of_anything() -> None:
    ours = Repository().rotate(("ada", "bob", "dan"), 2).release("1.0")
    forged = Repository().rotate(("mallory", "eve"), 2)
    forged.recommit_root("mallory", "eve")
    with refused(ThresholdNotMet):
        install(ours).update(replace(ours.metadata(), roots=tuple(forged.roots)), NOW)


def test_a_fast_forward_by_a_thief_binds_only_until_the_keys_are_rotated(repository: Repository) -> None:
    pushed = repository.copy()
    for role in ("timestamp", "snapshot", "targets"):
        pushed[role]["version"] = 2**53 - 1
    trusted = install(pushed)
    with refused(Rollback):
        trusted.update(repository.copy().release("2.0").metadata(), NOW)
    with refused(Rollback):  # the heartbeat alone was rotated: what the signers vouch for still binds
        trusted.update(
            repository.copy().rotate(("ada", "bob", "cyd"), 2, "hb2").release("2.0").metadata(), NOW
        )
    recovered = repository.copy().rotate(("dan", "eve"), 2, "hb2").release("2.0")
    release = trusted.update(recovered.metadata(), NOW).release()
    assert release is not None
    assert release.version == "2.0"


@pytest.mark.parametrize("rotated", ["snapshot", "targets"])
def test_a_role_whose_keys_were_rotated_is_still_bound_by_the_role_that_names_it(rotated: str) -> None:
    """The keys of one role alone are new; what the roles above said of its version holds on."""
    old = Repository().release("1.0").release("2.0")
    new = Repository()
    keys = {key_id(public_hex(name)): key_object(public_hex(name)) for name in ("hb2", "dan", "eve")}
    new["root"]["version"] = 2
    new["root"]["keys"] |= keys
    signers = ["hb2"] if rotated == "snapshot" else ["dan", "eve"]
    keyids = [key_id(public_hex(name)) for name in signers]
    new["root"]["roles"][rotated] = {"keyids": keyids, "threshold": len(keyids)}
    new.commit_root()
    new.names[rotated] = signers
    new["timestamp"]["version"] = 9
    if rotated == "targets":
        new["snapshot"]["version"] = 9
    with refused(Rollback, match=f"names {rotated} 1, 3 is trusted"):
        install(old).update(new.metadata(), NOW)


def test_a_first_root_of_another_version_is_refused(repository: Repository) -> None:
    with refused(TrustError, match="version 2 instead of 1"):
        install(saying(repository, "root", {"version": 2}))


def test_a_known_root_with_spoilt_signatures_is_refused_too(repository: Repository) -> None:
    later = repository.copy().release("2.0").metadata()
    spoilt = flip(later.roots[0], later.roots[0].index(b'"sig":"') + 10)
    with refused(BadSignature):
        install(repository).update(replace(later, roots=(spoilt,)), NOW)


# Time.


@each_role
@pytest.mark.parametrize(
    "expires",
    [
        "9999",
        "2031-01-01T00:00:00+01:00",
        "2031-01-01T00:00:00",
        "2031-01-01 00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0999-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "2031-02-30T00:00:00Z",
        "2031-01-01T23:59:60Z",
        "2031-1-1T0:0:0Z",
        "２０３１-01-01T00:00:00Z",
        "",
        None,
        1_900_000_000,
    ],
)
def test_an_expiry_in_another_spelling_is_refused(repository: Repository, role: str, expires: Any) -> None:
    with refused(ProtocolViolation):
        install(saying(repository, role, {"expires": expires}))


@each_role
def test_expired_metadata_is_not_installed_without_the_persons_yes(repository: Repository, role: str) -> None:
    stale = saying(repository, role, {"expires": text_of(NOW - 40 * DAY)})
    with refused(Expired, match=f"{role} metadata expired"):
        install(stale)
    assert TrustedApp.first(stale.app_key, stale.metadata(), NOW, allow_expired=True).release()
    assert install(stale, NOW - 40 * DAY - 1).release()
    with refused(Expired):
        install(stale, NOW - 40 * DAY)


def test_a_peer_that_withholds_the_newest_timestamp_is_seen_through_when_it_expires(
    repository: Repository,
) -> None:
    trusted = install(repository)
    assert (
        trusted.update(repository.metadata(), NOW + 6 * DAY).freshness(NOW + 6 * DAY).state.value == "fresh"
    )
    assert (
        trusted.update(repository.metadata(), NOW + 8 * DAY).freshness(NOW + 8 * DAY).state.value == "stale"
    )


def test_a_clock_that_is_set_back_does_not_revive_expired_metadata(repository: Repository) -> None:
    trusted = install(repository).update(repository.copy().beat(NOW + 30 * DAY).metadata(), NOW + 30 * DAY)
    again = TrustedApp.restore(repository.app_key, trusted.state())
    older = repository.copy()
    older["timestamp"]["version"] = 50
    for state in (trusted, again):
        with refused(Expired):
            state.update(older.metadata(), NOW)


# Whose metadata it is.


@pytest.mark.parametrize(
    ("role", "other"), [(role, other) for role in ROLES for other in ROLES if role != other]
)
def test_a_role_is_not_taken_for_another(repository: Repository, role: str, other: str) -> None:
    metadata = repository.metadata()
    raw = metadata.roots[0] if other == "root" else getattr(metadata, other)
    with refused(ProtocolViolation, DigestMismatch):
        TrustedApp.first(repository.app_key, with_blob(metadata, role, raw), NOW)


def test_the_heartbeat_cannot_pass_a_snapshot_off_as_a_timestamp(repository: Repository) -> None:
    snapshot = repository.metadata().snapshot
    with refused(ProtocolViolation, match="timestamp metadata expected"):
        install(bent(repository, "timestamp", lambda _: snapshot))


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_another_apps_metadata_with_the_same_keys_is_refused(repository: Repository, role: str) -> None:
    repository[role]["x-pearrt-app"] = "f" * 32
    with refused(TrustError, match="another app"):
        install(repository)
    with refused(TrustError, match="another app"):
        install(Repository().release("1.0")).update(repository.metadata(), NOW)


def test_a_later_root_cannot_turn_the_app_into_another(repository: Repository) -> None:
    for role in ROLES:
        repository[role]["x-pearrt-app"] = "f" * 32
    with refused(TrustError, match="root metadata belongs to another app"):
        install(repository.rotate(("ada", "bob", "cyd"), 2))


def test_valid_metadata_for_another_link_is_refused(repository: Repository) -> None:
    other = Repository(app_id="f" * 32).release("1.0")
    with refused(DigestMismatch, match="another link"):
        TrustedApp.first(repository.app_key, other.metadata(), NOW)
    with refused(DigestMismatch):
        install(repository).update(other.metadata(), NOW)


@each_role
@pytest.mark.parametrize("spec", ["2.0.0", "0.9.0", "10.0", "1", "1.0.0.0", "1.x", "", 1, None])
def test_another_major_version_of_the_framework_is_refused_with_advice(
    repository: Repository, role: str, spec: Any
) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        install(saying(repository, role, {"spec_version": spec}))
    if spec in ("2.0.0", "10.0"):
        assert "Update pearrt" in caught.value.hint


def test_mix_and_match_of_two_honest_sets_is_refused(repository: Repository) -> None:
    old, new = repository.metadata(), repository.copy().release("2.0").metadata()
    for role in ("snapshot", "targets"):
        with refused(DigestMismatch):
            TrustedApp.first(repository.app_key, with_blob(new, role, getattr(old, role)), NOW)
        with refused(DigestMismatch):
            TrustedApp.first(repository.app_key, with_blob(old, role, getattr(new, role)), NOW)


def test_a_revoked_signer_is_not_brought_back_by_withholding_the_root(repository: Repository) -> None:
    later = repository.rotate(("bob", "cyd", "dan"), 2).release("2.0").metadata()
    with refused(TrustError, match="signed under root 2"):
        TrustedApp.first(repository.app_key, replace(later, roots=later.roots[:1]), NOW)


# Gossip.


def test_a_gossiped_timestamp_is_judged_before_anything_is_fetched(repository: Repository) -> None:
    trusted = install(repository)
    newer, older = repository.copy().beat().metadata().timestamp, Repository().metadata().timestamp
    assert trusted.check_timestamp(newer, NOW) is Verdict.NEWER
    assert trusted.check_timestamp(repository.metadata().timestamp, NOW) is Verdict.SAME
    assert trusted.check_timestamp(older, NOW) is Verdict.OLDER
    assert trusted.check_timestamp(newer, NOW + 30 * DAY, allow_expired=True) is Verdict.NEWER
    with refused(Expired):
        trusted.check_timestamp(newer, NOW + 30 * DAY)


def test_a_forged_or_contradictory_gossip_is_refused(repository: Repository) -> None:
    trusted = install(repository)
    raw = repository.copy().beat().metadata().timestamp
    with refused(BadSignature, ProtocolViolation):
        trusted.check_timestamp(flip(raw, len(raw) - 40), NOW)
    stranger = repository.copy()
    stranger.names["timestamp"] = ["mallory"]
    with refused(ThresholdNotMet):
        trusted.check_timestamp(stranger.metadata().timestamp, NOW)
    other = repository.copy()
    other["timestamp"]["x-other"] = 1
    with refused(Equivocation):
        trusted.check_timestamp(other.metadata().timestamp, NOW)
    with refused(TrustError, match="another app"):
        trusted.check_timestamp(Repository(app_id="f" * 32).metadata().timestamp, NOW)


def test_gossip_across_a_change_of_the_heartbeat(repository: Repository) -> None:
    """An honest peer that is behind is no liar; one ahead can't be judged before its roots are seen."""
    behind, ahead = (
        repository.copy(),
        repository.copy().rotate(("ada", "bob", "cyd"), 2, "hb2").release("2.0"),
    )
    assert install(ahead).check_timestamp(behind.metadata().timestamp, NOW) is Verdict.OLDER
    assert install(behind).check_timestamp(ahead.metadata().timestamp, NOW) is Verdict.LATER_ROOT
    behind.beat()["timestamp"]["version"] = 99
    assert install(ahead).check_timestamp(behind.metadata().timestamp, NOW) is Verdict.OLDER
    behind["timestamp"]["x-pearrt-app"] = "f" * 32
    with refused(TrustError, match="another app"):
        install(ahead).check_timestamp(behind.metadata().timestamp, NOW)
    behind["timestamp"] |= {"x-pearrt-root": 2, "x-pearrt-app": ahead.app_id}
    with refused(ThresholdNotMet):
        install(ahead).check_timestamp(behind.metadata().timestamp, NOW)
