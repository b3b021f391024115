"""A new app: its link is the hash of what its signers signed, and nobody signs it alone who should not."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pearrt.crypto import ed25519
from pearrt.crypto.keyfile import PublicKey
from pearrt.errors import BadSignature, ThresholdNotMet, UserError
from pearrt.link import encode_key
from pearrt.publish.app import new_app
from pearrt.publish.draft import Signature, combine, sign
from pearrt.publish.publication import Publication, new_heartbeat, publications
from pearrt.trust.app import TrustedApp
from tests.unit.publish.conftest import NAMES, NOW, Team, public_of, seed_of, signed


def test_the_app_key_is_what_a_verifier_computes_from_root_1(publication: Publication) -> None:
    trusted = TrustedApp.first(publication.app_key, publication.metadata, NOW)
    assert trusted.release() is None
    assert trusted.threshold == 3
    assert tuple(signer.name for signer in trusted.signers) == NAMES
    assert trusted.root_version == 1


def test_the_same_signers_can_have_two_apps_with_two_links(team: Team) -> None:
    assert team.new_app(app_id=bytes(16)).app_key != team.new_app(app_id=bytes(15) + b"\1").app_key


def test_the_folder_is_private_and_named_by_the_key(publication: Publication) -> None:
    assert publication.folder.name == encode_key(publication.app_key)
    for path in (publication.folder, *publication.folder.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_an_app_is_made_once(team: Team, tmp_path: Path) -> None:
    made = team.publication(tmp_path)
    with pytest.raises(UserError, match="exists already"):
        team.publication(tmp_path)
    assert publications(tmp_path) == [made.folder]
    assert publications(tmp_path / "no") == []


def test_one_of_one_is_an_app_too(tmp_path: Path) -> None:
    heartbeat = new_heartbeat()
    public = heartbeat.public
    new = new_app([public_of("ada")], 1, heartbeat=public, app_id=bytes(16), now=NOW)
    made = Publication.create(
        tmp_path, new, signed(new.root, "ada"), signed(new.targets, "ada"), heartbeat, NOW
    )
    assert made.trusted.threshold == 1


@pytest.mark.parametrize(
    ("names", "threshold"),
    [
        ((), 1),
        (NAMES, 0),
        (NAMES, 6),
        (NAMES, -1),
        (("ada", "ada"), 1),
        (("ada", "hb"), 1),
        (tuple("abcdefghijklmnopq"), 2),
    ],
)
def test_impossible_teams_are_the_users_error(names: tuple[str, ...], threshold: int) -> None:
    with pytest.raises(UserError):
        new_app(
            [public_of(name) for name in names],
            threshold,
            heartbeat=public_of("hb").key,
            app_id=bytes(16),
            now=NOW,
        )


def test_root_1_needs_the_threshold_of_signatures_and_says_who_is_missing(team: Team, tmp_path: Path) -> None:
    new = team.new_app()
    enough = signed(new.targets, "ada", "bob", "cyd")
    with pytest.raises(ThresholdNotMet) as caught:
        Publication.create(tmp_path, new, signed(new.root, "ada", "eve"), enough, team.heartbeat, NOW)
    assert "2 of 3" in caught.value.message
    assert "1 more" in caught.value.hint
    assert all(name in caught.value.hint for name in ("bob", "cyd", "dan"))
    assert not list(tmp_path.iterdir())


def test_the_same_signer_twice_counts_once(team: Team) -> None:
    new = team.new_app()
    with pytest.raises(ThresholdNotMet):
        combine(new.root, signed(new.root, "ada", "ada", "ada", "bob"))


def test_a_stranger_neither_signs_nor_is_counted(team: Team) -> None:
    new = team.new_app()
    with pytest.raises(BadSignature, match="none of those"):
        sign(new.root, seed_of("mallory"))
    forged = Signature(public_of("mallory").key, ed25519.sign(seed_of("mallory"), new.root.payload))
    with pytest.raises(BadSignature):
        combine(new.root, [*signed(new.root, "ada", "bob", "cyd"), forged])


def test_a_signature_of_something_else_names_whose_it_is(team: Team) -> None:
    new = team.new_app()
    with pytest.raises(BadSignature, match="by bob"):
        combine(new.root, [*signed(new.root, "ada", "cyd"), *signed(new.targets, "bob")])


def test_a_signer_without_a_name_is_shown_by_key_id(team: Team) -> None:
    nameless = [PublicKey(public_of(name).key) for name in ("ada", "bob")]
    new = new_app(nameless, 2, heartbeat=public_of("hb").key, app_id=bytes(16), now=NOW)
    with pytest.raises(ThresholdNotMet) as caught:
        combine(new.root, signed(new.root, "ada"))
    assert new.root.signers[1].keyid[:8] in caught.value.hint
