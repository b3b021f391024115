"""Witnesses: what nobody outside the team has seen is taken by nobody, whoever signed it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pearrt.errors import (
    BadSignature,
    DigestMismatch,
    LimitExceeded,
    PearrtError,
    ProtocolViolation,
    ThresholdNotMet,
    TrustError,
)
from pearrt.trust.app import TrustedApp
from pearrt.trust.metadata_set import MetadataSet
from pearrt.trust.witness import Checkpoint, Cosignature
from tests.support.repository import NOW, public_hex, signing_key
from tests.support.witnessed_repository import (
    FIELD,
    WitnessedRepository,
    checkpoint_text,
    cosignature,
    cosignatures,
    field_of,
    leaf,
)


@pytest.fixture
def repository() -> WitnessedRepository:
    return WitnessedRepository().release("1.0").release("2.0")  # type: ignore[return-value]


def first(repository: WitnessedRepository, metadata: MetadataSet | None = None) -> TrustedApp:
    found = repository.metadata() if metadata is None else metadata
    return TrustedApp.first(repository.app_key, MetadataSet.decode(found.encode()), NOW)


def with_targets_seen(repository: WitnessedRepository, data: bytes) -> MetadataSet:
    witnessed = {**repository.witnessed(), "targets": data}
    return replace(repository.metadata(), witnessed={name: seen for name, seen in witnessed.items() if seen})


# -- what is accepted


def test_a_release_that_enough_witnesses_saw_is_taken_first_and_as_an_update(
    repository: WitnessedRepository,
) -> None:
    trusted = first(repository)
    assert [witness.name for witness in trusted.witnessed_by_of()] == ["Wim", "Xia"]
    repository.release("3.0")
    trusted = trusted.update(repository.metadata(), NOW)
    assert trusted.targets.version == 4
    assert TrustedApp.restore(repository.app_key, trusted.state()).witnessed_by_of()


def test_an_app_begins_without_its_witnesses() -> None:
    """The first targets say nothing, so nobody has to have seen them."""
    trusted = first(WitnessedRepository())
    assert not trusted.checkpoints
    assert trusted.root.witnesses is not None


def test_an_app_without_witnesses_keeps_its_bytes() -> None:
    metadata = WitnessedRepository(witnesses=(), quorum=0).release("1.0").metadata()
    assert b"witness" not in metadata.encode()


def test_a_heartbeat_needs_no_witness(repository: WitnessedRepository) -> None:
    trusted = first(repository)
    repository.beat(NOW + 1)
    assert trusted.update(repository.metadata(), NOW + 1).timestamp.version > trusted.timestamp.version


def test_the_signed_text_is_that_of_c2sp() -> None:
    """The key is a witness's, the text as tlog-cosignature v1.0.0 spells it."""
    checkpoint = Checkpoint(
        "example.com/behind-the-sofa",
        20852163,
        base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="),
    )
    assert checkpoint.message(1679315147) == (
        b"cosignature/v1\n"
        b"time 1679315147\n"
        b"example.com/behind-the-sofa\n"
        b"20852163\n"
        b"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )
    made = Cosignature.make(bytes(signing_key("wim")), checkpoint, 1679315147)
    assert made.is_valid(checkpoint)
    assert not replace(made, time=made.time + 1).is_valid(checkpoint)


# -- what is refused


def test_a_secret_release_by_a_quorum_of_stolen_keys_that_no_witness_saw_is_refused(
    repository: WitnessedRepository,
) -> None:
    trusted = first(repository)
    thief = repository.copy()
    thief.seeing = []
    thief.release("secret")
    with pytest.raises(ThresholdNotMet, match="seen by 0 witnesses"):
        trusted.update(thief.metadata(), NOW)
    with pytest.raises(ThresholdNotMet):
        first(thief)


def test_one_witness_of_two_is_not_enough(repository: WitnessedRepository) -> None:
    repository.seeing = ["yan"]
    with pytest.raises(ThresholdNotMet, match="seen by 1 witnesses"):
        first(repository)


def test_a_threshold_of_stolen_keys_cannot_name_other_witnesses_or_none(
    repository: WitnessedRepository,
) -> None:
    trusted = first(repository)
    for names in ((), ("mal",)):
        thief = repository.copy()
        thief.name_witnesses(*names, quorum=len(names), seen_by=())
        with pytest.raises(ThresholdNotMet, match="root/2"):
            trusted.update(thief.metadata(), NOW)
        with pytest.raises(ThresholdNotMet, match="root/2"):
            first(thief)


def test_a_threshold_of_stolen_keys_cannot_rotate_unseen(repository: WitnessedRepository) -> None:
    trusted = first(repository)
    thief = repository.copy()
    thief.rotate(("mal",), 1, "hb2")
    thief.release("secret")
    with pytest.raises(ThresholdNotMet, match="root/2"):
        trusted.update(thief.metadata(), NOW)


def _of_another_size(repository: WitnessedRepository) -> str:
    return repository.targets_text().replace("\n3\n", "\n4\n")


def _of_another_root(repository: WitnessedRepository) -> str:
    return checkpoint_text(repository.app_key, "targets", [*repository.leaves, bytes(32)])


def _of_another_app(repository: WitnessedRepository) -> str:
    """An app with the same id and the same releases: only its key tells them apart."""
    other = WitnessedRepository(quorum=3).release("1.0").release("2.0")
    assert other.app_id == repository.app_id
    assert other.app_key != repository.app_key
    return repository.targets_text().replace(_origin(repository), _origin(other))  # type: ignore[arg-type]


def _origin(repository: WitnessedRepository) -> str:
    return repository.targets_text().partition("\n")[0]


def _of_another_role(repository: WitnessedRepository) -> str:
    return repository.targets_text().replace("/targets\n", "/beta/1\n")


def _of_the_release_before(repository: WitnessedRepository) -> str:
    return checkpoint_text(repository.app_key, "targets", list(repository.leaves))


@pytest.mark.parametrize(
    "text", [_of_another_size, _of_another_root, _of_another_app, _of_another_role, _of_the_release_before]
)
def test_a_cosignature_of_something_else_is_refused(
    repository: WitnessedRepository, text: Callable[[WitnessedRepository], str]
) -> None:
    wrong = text(repository)
    assert wrong != repository.targets_text()
    with pytest.raises(BadSignature, match="another release"):
        first(repository, with_targets_seen(repository, cosignatures(["wim", "xia"], wrong)))


def test_a_cosignature_with_another_time_is_refused(repository: WitnessedRepository) -> None:
    data = bytearray(repository.witnessed()["targets"])
    data[39] ^= 1
    with pytest.raises(BadSignature):
        first(repository, with_targets_seen(repository, bytes(data)))


def test_a_witness_counts_once(repository: WitnessedRepository) -> None:
    text = repository.targets_text()
    twice = b"".join(sorted(cosignature("wim", text, time) for time in (1, 2)))
    with pytest.raises(ProtocolViolation, match="out of order"):
        first(repository, with_targets_seen(repository, twice))


def test_a_stranger_is_no_witness(repository: WitnessedRepository) -> None:
    data = cosignatures(["wim", "xia", "mal"], repository.targets_text())
    with pytest.raises(BadSignature, match="no witness"):
        first(repository, with_targets_seen(repository, data))


def test_ten_thousand_junk_cosignatures_are_refused_unread(repository: WitnessedRepository) -> None:
    junk = bytes(104) * 10_000
    with pytest.raises(LimitExceeded):
        first(repository, with_targets_seen(repository, junk))
    many = {f"root/{version}": bytes(104 * 16) for version in range(2, 200)}
    with pytest.raises(LimitExceeded, match="more than 131072 bytes"):
        first(repository, replace(repository.metadata(), witnessed=many))


@pytest.mark.parametrize("name", ["beta", "root/2", "root/300"])
def test_a_cosignature_of_nothing_is_refused(repository: WitnessedRepository, name: str) -> None:
    witnessed = {**repository.witnessed(), name: cosignature("wim", "nothing")}
    with pytest.raises(DigestMismatch):
        first(repository, replace(repository.metadata(), witnessed=witnessed))


@pytest.mark.parametrize("name", ["root/0", "root/1", "root/02", "root", "snapshot", "../etc", "root/1000"])
def test_only_what_has_a_log_can_be_cosigned(repository: WitnessedRepository, name: str) -> None:
    with pytest.raises(ProtocolViolation):
        first(repository, replace(repository.metadata(), witnessed={name: bytes(104)}))


def _stripped_field(field: dict[str, Any]) -> None:
    del field["threshold"]


def _bad_fields() -> dict[str, dict[str, Any]]:
    good = field_of(("wim", "xia", "yan"), 2)
    twin = {"keys": [*good["keys"][:2], {**good["keys"][0], "name": "Zoe"}], "threshold": 2}
    small = {"name": "Nobody", "public": "01" + "00" * 31}
    return {
        "a witness under two names": twin,
        "a signer as a witness": field_of(("wim", "xia", "ada"), 2),
        "the heartbeat as a witness": field_of(("wim", "xia", "hb"), 2),
        "half of the witnesses": field_of(("wim", "xia"), 1),
        "more than there are": field_of(("wim", "xia"), 3),
        "nobody": {"keys": [], "threshold": 1},
        "a threshold of 0": field_of(("wim",), 0),
        "seventeen": field_of(tuple(f"w{number}" for number in range(17)), 9),
        "a key of small order": {"keys": [*good["keys"], small], "threshold": 3},
        "no threshold": {"keys": good["keys"]},
        "a name that hides": {"keys": [{"name": "W\u202eim", "public": public_hex("wim")}], "threshold": 1},
        "a field more": {**good, "note": ""},
    }


@pytest.mark.parametrize("why", _bad_fields())
def test_a_root_that_names_witnesses_wrongly_is_refused(why: str) -> None:
    repository = WitnessedRepository()
    repository["root"][FIELD] = _bad_fields()[why]
    repository.recommit_root()
    with pytest.raises(ProtocolViolation):
        first(repository)


def test_a_channels_signer_is_no_witness_of_it(repository: WitnessedRepository) -> None:
    repository.delegate("beta", ("wim",))
    with pytest.raises(TrustError, match="nobody is their own witness"):
        first(repository)


# -- other witnesses


def test_witnesses_change_when_the_old_ones_saw_it(repository: WitnessedRepository) -> None:
    trusted = first(repository)
    repository.name_witnesses("zoe", "ula", quorum=2)
    repository.release("3.0")
    after = trusted.update(repository.metadata(), NOW)
    assert [witness.name for witness in after.witnessed_by_of()] == ["Zoe", "Ula"]
    assert first(repository).root.version == 2


def test_an_old_roots_witnesses_do_not_count_any_more(repository: WitnessedRepository) -> None:
    repository.name_witnesses("zoe", quorum=1)
    with pytest.raises(BadSignature, match="no witness"):
        first(
            repository, with_targets_seen(repository, cosignatures(["wim", "xia"], repository.targets_text()))
        )


def test_the_step_to_a_root_must_have_been_seen_by_the_witnesses_before_it(
    repository: WitnessedRepository,
) -> None:
    repository.name_witnesses("zoe", quorum=1, seen_by=("zoe",))
    with pytest.raises(BadSignature, match="no witness"):
        first(repository)


def test_many_changes_are_followed_from_the_first_root_and_from_any(repository: WitnessedRepository) -> None:
    states = [first(repository)]
    for names in (("zoe",), (), ("wim", "ula"), ("zoe", "ula", "yan")):
        repository.name_witnesses(*names, quorum=len(names))
        states.append(first(repository))
    for state in states:
        assert state.update(repository.metadata(), NOW).root.version == 5
        partial = replace(repository.metadata(), roots=tuple(repository.roots[state.root.version :]))
        assert state.update(partial, NOW).metadata == first(repository).metadata


def test_known_steps_are_kept_whatever_a_peer_says_of_them(repository: WitnessedRepository) -> None:
    repository.name_witnesses("zoe", quorum=1)
    trusted = first(repository)
    repository.release("3.0")
    seen = repository.witnessed()
    for step in (b"", bytes(104)):
        offered = {name: data for name, data in {**seen, "root/2": step}.items() if data}
        after = trusted.update(replace(repository.metadata(), witnessed=offered), NOW)
        assert after.metadata.witnessed == seen


def test_lost_witnesses_are_replaced_by_every_signer_together(repository: WitnessedRepository) -> None:
    trusted = first(repository)
    repository._named = None
    repository.rotate(repository.team, repository.threshold)
    repository.recommit_root("ada", "bob")
    repository.seeing = []
    repository.release("3.0")
    with pytest.raises(ThresholdNotMet, match="root/2"):
        trusted.update(repository.metadata(), NOW)
    repository.recommit_root("ada", "bob", "cyd")
    assert trusted.update(repository.metadata(), NOW).root.witnesses is None


def test_a_team_whose_threshold_is_everybody_cannot_replace_lost_witnesses() -> None:
    """A threshold of stolen keys would be enough to do so."""
    repository = WitnessedRepository(("ada",), 1)
    repository.release("1.0")
    thief = repository.copy()
    thief.name_witnesses(seen_by=())
    with pytest.raises(ThresholdNotMet):
        first(thief)


def test_channels_are_witnessed_each_for_itself(repository: WitnessedRepository) -> None:
    repository.delegate("beta")
    repository.release("3.0-beta", "beta/any")
    metadata = replace(repository.metadata(), logs={"targets": b"".join(repository.leaves)})
    heads = TrustedApp.first(repository.app_key, metadata, NOW, unwitnessed=True).checkpoints
    assert [head.origin.split("/", 2)[2] for head in heads.values()] == ["targets", "beta/1"]
    seen = {name: cosignatures(["wim", "yan"], head.text) for name, head in heads.items()}
    assert first(repository, replace(metadata, witnessed=seen)).witnessed_by_of("beta")
    for name in heads:
        with pytest.raises(ThresholdNotMet, match=name):
            first(
                repository, replace(metadata, witnessed={head: seen[head] for head in seen if head != name})
            )


def test_cosignatures_cut_or_flipped_anywhere_raise_what_they_should(repository: WitnessedRepository) -> None:
    data = repository.witnessed()["targets"]
    for at in range(0, len(data), 13):
        for broken in (data[:at], data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]):
            with pytest.raises((TrustError, ProtocolViolation)) as raised:
                first(repository, with_targets_seen(repository, broken))
            assert isinstance(raised.value, PearrtError)


def test_the_leaf_of_a_head_is_that_of_the_statement_itself(repository: WitnessedRepository) -> None:
    trusted = first(repository)
    head = trusted.checkpoints["targets"]
    assert head.size == trusted.targets.version == 3
    repository.release("3.0")
    assert repository.leaves[-1] == leaf(trusted.targets.envelope.signed)
