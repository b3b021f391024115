"""Hostile metadata: one test per attack. Each is refused with the right error, in bounded time, and what was
trusted before still is. `tests/interop/test_tuf_oracle.py` shows such sets to python-tuf by the hundred.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from pearrt.trust import MetadataSet, TrustedApp, Verdict
from tests.support.repository import (
    DAY,
    NOW,
    ROLES,
    Document,
    Repository,
    blob_of,
    canonical,
    flip,
    key_id,
    key_object,
    meta_of,
    public_hex,
    signature,
    text_of,
    with_blob,
)

L = 2**252 + 27742317777372353535851937790883648493
MAX_SECONDS = 2.0

each_role = pytest.mark.parametrize("role", ROLES)


@pytest.fixture
def repository() -> Repository:
    return Repository().release("1.0")


@contextmanager
def refused(*errors: type[Exception], match: str | None = None) -> Iterator[None]:
    """The block raises one of `errors`, soon."""
    before = time.process_time()
    with pytest.raises(errors, match=match):
        yield
    assert time.process_time() - before < MAX_SECONDS


def install(repository: Repository, now: float = NOW) -> TrustedApp:
    return TrustedApp.first(repository.app_key, repository.metadata(), now)


def bent(repository: Repository, role: str, edit: Callable[[bytes], bytes]) -> Repository:
    repository.blob_edits[role] = edit
    return repository


def saying(repository: Repository, role: str, fields: Document) -> Repository:
    """Rightly signed by those who may, but with these fields."""
    repository[role].update(fields)
    if role == "root":
        repository.recommit_root()
    return repository


# Signatures and thresholds.


def test_one_signature_twice_is_not_two_cve_2020_6174(repository: Repository) -> None:
    def twice(raw: bytes) -> bytes:
        value = json.loads(raw)
        return canonical(value | {"signatures": value["signatures"][:1] * 2})

    with refused(ProtocolViolation, match="two signatures"):
        install(bent(repository, "targets", twice))


def test_one_key_under_three_ids_is_one_signer(repository: Repository) -> None:
    root, ids = repository["root"], [key_id(public_hex("ada")), "a" * 64, "b" * 64]
    root["keys"] |= {keyid: key_object(public_hex("ada")) for keyid in ids}
    root["roles"]["targets"] = {"keyids": ids, "threshold": 3}
    repository.recommit_root()
    with refused(ProtocolViolation, match="not its hash"):
        install(repository)


@pytest.mark.parametrize("threshold", [0, -1, True, False, 2**53 - 1, 2**64, "2", 1.0, None, 4, 17])
def test_a_threshold_of_nothing_or_past_its_keys_is_refused_cve_2026_23992(
    repository: Repository, threshold: Any
) -> None:
    repository["root"]["roles"]["targets"]["threshold"] = threshold
    repository.recommit_root()
    with refused(ProtocolViolation):
        install(repository)


@each_role
def test_too_few_signatures_are_refused(repository: Repository, role: str) -> None:
    repository.names[role] = repository.names[role][:-1]
    if role == "root":
        repository.roots[-1] = blob_of(repository["root"], repository.names["root"])
    with refused(ThresholdNotMet, match="of (1|2) needed"):
        install(repository)


@each_role
def test_s_plus_l_is_no_second_signature(repository: Repository, role: str) -> None:
    def malleate(raw: bytes) -> bytes:
        value = json.loads(raw)
        sig = bytes.fromhex(value["signatures"][0]["sig"])
        s = int.from_bytes(sig[32:], "little") + L
        value["signatures"][0]["sig"] = (sig[:32] + s.to_bytes(32, "little")).hex()
        return canonical(value)

    with refused(BadSignature):
        install(bent(repository, role, malleate))


def test_a_small_order_key_which_anyone_can_sign_with_is_no_signer(repository: Repository) -> None:
    public = "01" + "00" * 31
    repository["root"]["keys"][key_id(public)] = key_object(public)
    repository["root"]["roles"]["targets"] = {"keyids": [key_id(public)], "threshold": 1}
    repository.recommit_root()
    forged = [{"keyid": key_id(public), "sig": public + "00" * 32}]
    with refused(ProtocolViolation, match="small order"):
        install(bent(repository, "targets", lambda raw: canonical(json.loads(raw) | {"signatures": forged})))


@each_role
def test_2500_junk_signatures_cost_nothing(repository: Repository, role: str) -> None:
    junk = [{"keyid": f"{number:064x}", "sig": "00" * 64} for number in range(2500)]

    def stuff(raw: bytes) -> bytes:
        value = json.loads(raw)
        return canonical(value | {"signatures": value["signatures"] + junk})

    with refused(LimitExceeded):
        install(bent(repository, role, stuff))


def test_16_false_signatures_do_not_hide_that_the_true_ones_are_short(repository: Repository) -> None:
    def stuff(raw: bytes) -> bytes:
        value = json.loads(raw)
        junk = [{"keyid": f"{number:064x}", "sig": "00" * 64} for number in range(15)]
        return canonical(value | {"signatures": value["signatures"][:1] + junk})

    with refused(ThresholdNotMet):
        install(bent(repository, "targets", stuff))


@each_role
def test_no_flipped_bit_gets_through(repository: Repository, role: str) -> None:
    metadata = repository.metadata()
    raw = metadata.roots[0] if role == "root" else getattr(metadata, role)
    for at in range(0, len(raw), 7):
        with pytest.raises((TrustError, ProtocolViolation)):
            TrustedApp.first(repository.app_key, with_blob(metadata, role, flip(raw, at)), NOW)


def test_a_stolen_heartbeat_installs_nothing(repository: Repository) -> None:
    repository.names["targets"] = ["hb"]
    with refused(ThresholdNotMet):
        install(repository)


@pytest.mark.parametrize("role", ["root", "targets"])
def test_a_root_that_would_let_the_heartbeat_install_is_refused(repository: Repository, role: str) -> None:
    repository["root"]["roles"][role]["keyids"].append(key_id(public_hex("hb")))
    repository.recommit_root()
    with refused(ProtocolViolation, match="heartbeat"):
        install(repository)


# Text that parsers disagree about, or choke on.


@each_role
def test_a_json_key_that_stands_twice_is_refused(repository: Repository, role: str) -> None:
    with refused(ProtocolViolation, match="twice"):
        install(bent(repository, role, lambda raw: raw.replace(b'"_type"', b'"version":99,"_type"')))


@pytest.mark.parametrize("number", [b"NaN", b"1e400", b"Infinity", b"9" * 5000, b"1.0", b"9007199254740992"])
def test_numbers_that_are_no_integers_are_refused(repository: Repository, number: bytes) -> None:
    edit = lambda raw: raw.replace(b'"version":2', b'"version":' + number)  # noqa: E731
    with refused(ProtocolViolation, LimitExceeded):
        install(bent(repository, "timestamp", edit))


@each_role
def test_nesting_of_any_depth_is_refused_before_it_is_parsed(repository: Repository, role: str) -> None:
    for depth in (17, 1000, 8000):
        for nested in (b"[" * depth + b"]" * depth, b'{"signatures":[],"signed":' + b'{"a":' * depth):
            with refused(LimitExceeded):
                install(bent(repository.copy(), role, lambda _, nested=nested: nested))


@each_role
def test_other_encodings_of_text_are_refused(repository: Repository, role: str) -> None:
    for edit in (
        lambda raw: b"\xef\xbb\xbf" + raw,
        lambda raw: raw.decode().encode("utf-16"),
        lambda raw: raw.replace(b'"_type"', b'"\\ud800":0,"_type"'),
        lambda raw: raw.replace(b'"_type"', b'"\xed\xa0\x80":0,"_type"'),
    ):
        with refused(ProtocolViolation):
            install(bent(repository.copy(), role, edit))


@pytest.mark.parametrize(
    ("role", "cap"), [("root", 65536), ("timestamp", 4096), ("snapshot", 16384), ("targets", 262144)]
)
def test_a_blob_past_its_cap_is_refused_unparsed(repository: Repository, role: str, cap: int) -> None:
    with refused(LimitExceeded):
        install(saying(repository, role, {"x": "x" * cap}))
    oversized = with_blob(Repository().metadata(), role, b" " * (cap + 1))
    with refused(LimitExceeded):
        MetadataSet.decode(oversized.encode())


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
    repository["root"]["x-pearrt-app"] = "f" * 32
    with refused(TrustError, match="another app"):
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
    behind["timestamp"]["x-pearrt-root"] = 2
    with refused(ThresholdNotMet):
        install(ahead).check_timestamp(behind.metadata().timestamp, NOW)


# The set as it travels.


def test_a_metadata_set_that_is_cut_bent_or_stuffed_is_refused(repository: Repository) -> None:
    data = repository.metadata().encode()
    for at in range(0, len(data), 50):
        with pytest.raises((ProtocolViolation, LimitExceeded)):
            MetadataSet.decode(data[:at])
    for junk in (
        b"",
        b"le",
        b"i1e",
        b"d5:rootslee",
        b"d5:rootsi1e8:snapshot0:7:targets0:9:timestamp0:e",
        data + b"x",
    ):
        with refused(ProtocolViolation):
            MetadataSet.decode(junk)
    with refused(LimitExceeded):
        MetadataSet.decode(replace(repository.metadata(), roots=(b"{}",) * 10_000).encode())


def test_a_hash_of_another_kind_or_length_is_refused(repository: Repository) -> None:
    for entry in (
        {"hashes": {"md5": "0" * 32}},
        {"hashes": {}},
        {"hashes": {"sha256": "0" * 63}},
        {"length": -1},
        {"length": True},
        {"version": 0},
    ):
        repository.link_edits["targets"] = lambda meta, entry=entry: meta.update(entry)
        with refused(ProtocolViolation):
            install(repository)


def test_terminal_escapes_and_turned_text_never_reach_a_screen(repository: Repository) -> None:
    for text in ("\x1b]0;x\x07", "\u202egpj.exe", "\x00", "\u2066x"):
        for field in ("name", "version", "notes"):
            hostile = repository.copy()
            hostile["targets"]["targets"]["stable/any"]["custom"][field] = text
            with refused(ProtocolViolation, match="cannot be shown"):
                install(hostile)


def test_a_signed_snapshot_that_names_more_than_targets_is_refused(repository: Repository) -> None:
    repository["snapshot"]["meta"]["delegated.json"] = meta_of(1, b"")
    with refused(ProtocolViolation):
        install(repository)
    with refused(ProtocolViolation, match="delegations"):
        install(saying(Repository(), "targets", {"delegations": {"keys": {}, "roles": []}}))


def test_signatures_by_strangers_beside_enough_true_ones_do_no_harm(repository: Repository) -> None:
    def add(raw: bytes) -> bytes:
        value = json.loads(raw)
        return canonical(
            value | {"signatures": [signature("mallory", value["signed"]), *value["signatures"]]}
        )

    assert install(bent(repository, "targets", add)).release()
