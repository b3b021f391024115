"""Hostile metadata, how it is signed and spelt: one test per attack. Each is refused with the right error, in
bounded time. `tests/interop/test_tuf_oracle.py` shows such sets to python-tuf by the hundred.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pearrt.errors import (
    BadSignature,
    DigestMismatch,
    LimitExceeded,
    ProtocolViolation,
    ThresholdNotMet,
    TrustError,
)
from pearrt.trust.app import TrustedApp
from pearrt.trust.metadata_set import MetadataSet
from tests.support.refusal import bent, each_role, install, refused, saying
from tests.support.repository import (
    NOW,
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
    with_blob,
)

L = 2**252 + 27742317777372353535851937790883648493


@pytest.fixture
def repository() -> Repository:
    return Repository().release("1.0")


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
def test_a_role_that_names_keys_twice_or_not_at_all_or_unknown_ones_is_refused(
    repository: Repository, role: str
) -> None:
    ada, bob = (key_id(public_hex(name)) for name in ("ada", "bob"))
    for keyids in (
        [ada, ada, bob],
        [ada, bob, "0" * 64],
        [],
        [ada.upper(), bob],
        [7, 8],
        None,
        "x",
        {ada: bob},
    ):
        odd = repository.copy()
        odd["root"]["roles"][role]["keyids"] = keyids
        odd.recommit_root()
        with refused(ProtocolViolation):
            install(odd)


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


@each_role
def test_a_seventeenth_signature_is_one_too_many(repository: Repository, role: str) -> None:
    def stuff(raw: bytes) -> bytes:
        value = json.loads(raw)
        junk = [
            {"keyid": f"{number:064x}", "sig": "00" * 64} for number in range(17 - len(value["signatures"]))
        ]
        return canonical(value | {"signatures": value["signatures"] + junk})

    with refused(LimitExceeded, match="17 signatures"):
        install(bent(repository, role, stuff))


def test_keys_releases_and_indexes_have_caps(repository: Repository) -> None:
    keys, releases, index = repository.copy(), repository.copy(), repository.copy()
    for number in range(62):
        public = public_hex(f"key {number}")
        keys["root"]["keys"][key_id(public)] = key_object(public)
    keys.recommit_root()
    with refused(ProtocolViolation, match="more than 64"):
        install(keys)
    small = {"length": 0, "hashes": {"sha256": "0" * 64}}
    releases["targets"]["targets"] |= {f"later/{number}/x": small for number in range(256)}
    with refused(ProtocolViolation, match="more than 256"):
        install(releases)
    index["targets"]["targets"]["stable/any"]["length"] = 64 * 1024 * 1024 + 1
    with refused(ProtocolViolation, match="length"):
        install(index)


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
        {"x": 1},
    ):
        repository.link_edits["targets"] = lambda meta, entry=entry: meta.update(entry)
        with refused(ProtocolViolation):
            install(repository)


@pytest.mark.parametrize("named", ["snapshot", "targets"])
def test_a_blob_of_another_length_or_version_than_named_is_refused(
    repository: Repository, named: str
) -> None:
    lies: list[tuple[Document, type[Exception]]] = [
        ({"length": 7}, DigestMismatch),
        ({"hashes": {"sha256": "0" * 64}}, DigestMismatch),
        ({"version": 1}, TrustError),
        ({"version": 3}, TrustError),
    ]
    for lie, error in lies:
        repository.link_edits[named] = lambda meta, lie=lie: meta.update(lie)
        with refused(error):
            install(repository)


def test_terminal_escapes_and_turned_text_never_reach_a_screen(repository: Repository) -> None:
    for text in ("\x1b]0;x\x07", "\u202egpj.exe", "\x00", "\u2066x"):
        for field in ("name", "version", "notes"):
            hostile = repository.copy()
            hostile["targets"]["targets"]["stable/any"]["custom"][field] = text
            with refused(ProtocolViolation, match="cannot be shown"):
                install(hostile)


def test_a_signed_snapshot_that_names_more_than_targets_and_channels_is_refused(
    repository: Repository,
) -> None:
    for name in (
        "root.json",
        "timestamp.json",
        "beta",
        "../beta.json",
        "Beta.json",
        "beta.json.json/",
        ".json",
    ):
        odd = repository.copy()
        odd["snapshot"]["meta"][name] = meta_of(1, b"")
        with refused(ProtocolViolation, match="no channel"):
            install(odd)
    repository["snapshot"]["meta"] = {f"c{number}.json": meta_of(1, b"") for number in range(64)}
    with refused(ProtocolViolation, match="more than 64"):
        install(repository)


def test_signatures_by_strangers_beside_enough_true_ones_do_no_harm(repository: Repository) -> None:
    def add(raw: bytes) -> bytes:
        value = json.loads(raw)
        return canonical(
            value | {"signatures": [signature("mallory", value["signed"]), *value["signatures"]]}
        )

    assert install(bent(repository, "targets", add)).release()
