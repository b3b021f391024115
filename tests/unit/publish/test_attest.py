"""Attestations: what one signer rebuilt is shown to the next one, and nobody else's word counts as theirs."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pearrt.bundle.manifest import Entry, Manifest
from pearrt.bundle.stage import Staged, stage_tree
from pearrt.crypto import ed25519
from pearrt.errors import BadSignature, LimitExceeded, ProtocolViolation, RemoteError, StoreError, TrustError
from pearrt.publish import attest as module
from pearrt.publish.attest import (
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    Attestation,
    attest,
    attestations,
    keep,
    read_attestation,
)
from pearrt.publish.changes import FileFate
from pearrt.publish.dsse import DsseEnvelope, pae, sign
from pearrt.publish.reproduce import Outcome, compare
from pearrt.trust.metadata import Signer
from pearrt.trust.release import Release
from tests.support.repository import NOW
from tests.support.trees import write_tree

SEED = b"\1" * 32
ADA = Signer(ed25519.public_key(SEED), "ada")
FILES = {"thing.py": b"print(1)\n", "data": b"x" * 100_000}


def staged(folder: Path, files: dict[str, bytes], **options: Any) -> Staged:
    manifest = Manifest(name="thing", version="1.0", entry=Entry(module="thing"))
    return stage_tree(write_tree(folder, files), manifest, lambda *_: None, **options)


def release_of(bundle: Staged) -> Release:
    return Release(
        "stable",
        "any",
        "thing",
        "1.0",
        2,
        bundle.digest,
        len(bundle.index_bytes),
        bundle.index_blocks,
        "",
        NOW,
    )


@pytest.fixture
def envelope(tmp_path: Path) -> bytes:
    bundle = staged(tmp_path / "a", FILES)
    found = compare(bundle.index, staged(tmp_path / "b", FILES).index)
    return attest(SEED, bytes(32), release_of(bundle), found, source="thing", builder="pearrt", now=NOW)


# -- reproducing


def test_the_same_sources_give_the_same_bundle(tmp_path: Path) -> None:
    found = compare(staged(tmp_path / "a", FILES).index, staged(tmp_path / "b", FILES).index)
    assert (found.outcome, found.files, found.manifest, found.same) == (Outcome.IDENTICAL, (), (), True)


def test_another_compressor_gives_the_same_tree(tmp_path: Path) -> None:
    found = compare(staged(tmp_path / "a", FILES).index, staged(tmp_path / "b", FILES, level=1).index)
    other = compare(staged(tmp_path / "a", FILES).index, staged(tmp_path / "b", FILES, codec="xz").index)
    assert {found.outcome, other.outcome} <= {Outcome.SAME_TREE, Outcome.IDENTICAL}
    assert other.outcome is Outcome.SAME_TREE
    assert other.same


def test_every_difference_is_named(tmp_path: Path) -> None:
    released = staged(tmp_path / "a", FILES | {"backdoor.py": b"import os\n"})
    found = compare(released.index, staged(tmp_path / "b", FILES | {"data": b"y", "new": b"z"}).index)
    assert found.outcome is Outcome.DIFFERENT
    assert {change.path: change.fate for change in found.files} == {
        "backdoor.py": FileFate.REMOVED,
        "data": FileFate.CHANGED,
        "new": FileFate.ADDED,
    }


def test_a_manifest_that_differs_is_a_difference(tmp_path: Path) -> None:
    one = staged(tmp_path / "a", FILES).index
    other = replace(one, manifest=replace(one.manifest, version="1.1", permissions={"network": True}))
    assert compare(one, other).manifest == ("permissions", "version")
    assert not compare(one, other).same


# -- attesting


def test_an_attestation_is_an_in_toto_statement_in_dsse(envelope: bytes) -> None:
    fields = json.loads(envelope)
    assert fields["payloadType"] == PAYLOAD_TYPE
    payload = base64.b64decode(fields["payload"])
    statement = json.loads(payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == PREDICATE_TYPE
    (signature,) = fields["signatures"]
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(payload), payload)
    assert pae(PAYLOAD_TYPE, payload) == signed
    assert ed25519.verify(ADA.public, signed, base64.b64decode(signature["sig"]))


def test_it_names_its_signer_only_if_that_key_signs_for_the_app(envelope: bytes) -> None:
    found = read_attestation(envelope, [ADA])
    assert (found.name, found.outcome, found.made_at) == ("ada", Outcome.IDENTICAL, NOW)
    assert found.title == "ada got the same bundle, byte for byte from thing on 2030-03-17"
    assert "no signer's" in read_attestation(envelope).title


def test_it_is_kept_and_those_of_signers_come_first(envelope: bytes, tmp_path: Path) -> None:
    stranger = DsseEnvelope.parse(envelope)
    payload = json.loads(stranger.payload)
    payload["predicate"]["key"] = ed25519.public_key(b"\2" * 32).hex()
    other = sign(b"\2" * 32, PAYLOAD_TYPE, json.dumps(payload).encode()).encode()
    for data in (other, envelope, envelope):
        keep(tmp_path / "kept", data)
    (tmp_path / "kept" / "junk.dsse.json").write_bytes(b"{")
    assert [each.name for each in attestations(tmp_path / "kept", [ADA])] == ["ada", ""]
    assert [each.name for each in attestations(envelope, [ADA])] == ["ada"]
    assert attestations(tmp_path / "none") == []
    assert attestations(b"junk") == []


def test_a_folder_takes_only_so_many(
    envelope: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ATTESTATIONS", 1)
    path = keep(tmp_path / "kept", envelope)
    assert keep(tmp_path / "kept", envelope) == path  # the same again takes no room
    path.rename(path.with_name("other.dsse.json"))
    with pytest.raises(StoreError):
        keep(tmp_path / "kept", envelope)


def resigned(envelope: bytes, bend: Callable[[dict[str, Any]], None], seed: bytes = SEED) -> bytes:
    statement = json.loads(DsseEnvelope.parse(envelope).payload)
    bend(statement)
    return sign(seed, PAYLOAD_TYPE, json.dumps(statement).encode()).encode()


def test_a_changed_statement_or_a_foreign_key_is_refused(envelope: bytes) -> None:
    parsed = DsseEnvelope.parse(envelope)
    claims_more = parsed.payload.replace(b'"identical"', b'"same-tree"')
    with pytest.raises(BadSignature):
        read_attestation(replace(parsed, payload=claims_more).encode())
    with pytest.raises(BadSignature):  # signed by another than it says
        read_attestation(resigned(envelope, lambda _: None, b"\3" * 32))
    with pytest.raises(ProtocolViolation):
        read_attestation(sign(SEED, "text/plain", parsed.payload).encode())


@pytest.mark.parametrize(
    "bend",
    [
        lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda s: s.update(predicateType="https://slsa.dev/provenance/v1"),
        lambda s: s.update(subject=[]),
        lambda s: s.update(subject=s["subject"] * 2),
        lambda s: s["subject"][0].update(digest={"sha256": "ZZ"}),
        lambda s: s["predicate"].update(outcome="fine"),
        lambda s: s["predicate"].update(source="\x1b[2J"),
        lambda s: s["predicate"].update(made="yesterday"),
        lambda s: s.update(more=1),
        lambda s: s.pop("predicate"),
    ],
)
def test_a_statement_of_another_shape_is_refused(
    envelope: bytes, bend: Callable[[dict[str, Any]], None]
) -> None:
    with pytest.raises(ProtocolViolation):
        read_attestation(resigned(envelope, bend))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"payload":"","payloadType":"x","signatures":[]}',
        b'{"payload":"***","payloadType":"x","signatures":[{"keyid":"00","sig":""}]}',
        b'{"payload":"","payloadType":"","signatures":[1]}',
        b" " * 70_000,
    ],
)
def test_an_envelope_of_another_shape_is_refused(data: bytes) -> None:
    with pytest.raises((ProtocolViolation, LimitExceeded)):
        DsseEnvelope.parse(data)


def test_any_flipped_bit_is_noticed(envelope: bytes) -> None:
    good = read_attestation(envelope)
    for at in range(0, len(envelope), 5):
        bent = envelope[:at] + bytes([envelope[at] ^ 1]) + envelope[at + 1 :]
        try:
            found: Attestation | None = read_attestation(bent)
        except (RemoteError, TrustError):
            found = None
        assert found is None or replace(found, envelope=b"") == replace(good, envelope=b"")
