"""Taking a release back, and rollouts as they are drafted."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pearrt.crypto.hashes import sha256
from pearrt.errors import UserError
from pearrt.publish.draft import Draft
from pearrt.publish.publication import Publication
from pearrt.publish.release import Variant
from pearrt.publish.rotation import rotate
from pearrt.publish.withdraw import go_back, reinstate, revoke
from pearrt.trust.app import TrustedApp
from pearrt.trust.choice import Machine, choose
from pearrt.trust.release import Release
from pearrt.trust.revocation import Action, Revocation
from pearrt.trust.rollout import RolloutStep
from tests.unit.publish.conftest import DAY, NOW, draft_of, public_of, signed

ROLLOUT = (RolloutStep(NOW, 10), RolloutStep(NOW + DAY, 100))


def commit(publication: Publication, draft: Draft) -> Publication:
    return publication.commit(draft, signed(draft, "ada", "bob", "cyd"), NOW)


def released(publication: Publication, version: str, **fields: object) -> Publication:
    return commit(publication, draft_of(publication.trusted, version, **fields))


def current(trusted: TrustedApp) -> Release:
    release = trusted.release()
    assert release is not None
    return release


def test_to_go_back_is_a_new_and_higher_version_of_an_old_index(publication: Publication) -> None:
    first = released(publication, "1.0")
    second = released(first, "2.0")
    client = TrustedApp.first(second.app_key, second.metadata, NOW)
    bad = current(second.trusted)
    draft = go_back(
        second.trusted,
        current(first.trusted),
        now=NOW,
        revoke_current=Revocation(bad.index_digest, Action.RETURN, "It loses data."),
    )
    after = client.update(commit(second, draft).metadata, NOW)
    release = current(after)
    assert (release.version, release.index_digest) == ("1.0", current(first.trusted).index_digest)
    assert release.sequence > bad.sequence
    found = after.revoked(bad.index_digest)
    assert found is not None
    assert (found.action, found.reason) == (Action.RETURN, "It loses data.")


def test_to_go_back_to_an_index_that_no_metadata_at_hand_names(publication: Publication) -> None:
    second = released(publication, "2.0")
    old = Variant("any", sha256(b"1.0"), 100, (sha256(b"1.0"),))
    after = commit(second, go_back(second.trusted, old, version="1.0", now=NOW)).trusted
    assert (current(after).version, current(after).index_digest) == ("1.0", sha256(b"1.0"))
    with pytest.raises(UserError, match="version"):
        go_back(second.trusted, old, now=NOW)


def test_a_revoked_release_is_not_what_one_goes_back_to(publication: Publication) -> None:
    first = released(publication, "1.0")
    second = released(first, "2.0")
    digest = current(first.trusted).index_digest
    after = commit(second, revoke(second.trusted, digest, Action.STOP, "Bad.", now=NOW))
    with pytest.raises(UserError, match="revoked itself"):
        go_back(after.trusted, current(first.trusted), now=NOW)
    again = commit(after, reinstate(after.trusted, digest, now=NOW))
    assert again.trusted.revoked(digest) is None
    assert go_back(again.trusted, current(first.trusted), now=NOW)
    with pytest.raises(UserError, match="is revoked"):
        reinstate(again.trusted, digest, now=NOW)


def test_revocations_stay_through_releases_and_rotations_and_can_be_changed(publication: Publication) -> None:
    first = released(publication, "1.0")
    digest = current(first.trusted).index_digest
    for action in (Action.WARN, Action.STOP):
        first = commit(first, revoke(first.trusted, digest, action, action.value, now=NOW))
    first = released(first, "2.0")
    heartbeat = next(iter(first.trusted.root.authorities["timestamp"].signers.values())).public
    rotation = rotate(first.trusted, [public_of("ada")], 1, heartbeat=heartbeat, now=NOW)
    after = first.commit_rotation(
        rotation,
        signed(rotation.root, "ada", "bob", "cyd"),
        signed(rotation.targets, "ada"),
        first.heartbeat,
        NOW,
    )
    assert after.trusted.targets.revocations == (Revocation(digest, Action.STOP, "stop"),)


@pytest.mark.parametrize("reason", ["two\nlines", "\x1b[2J", "x" * 281])
def test_a_reason_that_cannot_be_shown_is_not_drafted(publication: Publication, reason: str) -> None:
    with pytest.raises(UserError, match="reason"):
        revoke(publication.trusted, bytes(32), Action.WARN, reason, now=NOW)


def test_a_rollout_names_the_last_release_that_everyone_has(publication: Publication) -> None:
    """Two rollouts in a row: who is reached by neither stays with what came before both."""
    first = released(publication, "1.0")
    second = released(first, "2.0", rollout=ROLLOUT)
    third = released(second, "3.0", rollout=ROLLOUT)
    release = current(third.trusted)
    assert release.before is not None
    assert (release.before.version, release.before.before) == ("1.0", None)
    assert release.before.sequence == current(first.trusted).sequence
    machine = Machine(("any",), "1.0", bytes(32))
    choice = choose(third.trusted, "stable", machine, NOW - 1)
    assert choice.release == release.before
    late = draft_of(second.trusted, "3.0", NOW + 2 * DAY, rollout=ROLLOUT)
    before = json.loads(late.payload)["targets"]["stable/any"]["custom"]["before"]["custom"]
    assert before["version"] == "2.0"
    assert "rollout" not in before


def test_a_first_release_or_one_that_is_urgent_has_no_rollout(publication: Publication) -> None:
    assert current(released(publication, "1.0", rollout=ROLLOUT).trusted).before is None
    with pytest.raises(UserError, match="everyone at once"):
        draft_of(publication.trusted, "1.0", rollout=ROLLOUT, security=True)
    falling = (replace(ROLLOUT[0], percent=60), replace(ROLLOUT[1], percent=50))
    with pytest.raises(UserError, match="do not rise"):
        draft_of(publication.trusted, "1.0", rollout=falling)
    with pytest.raises(UserError, match="min_runtime"):
        draft_of(publication.trusted, "1.0", min_runtime="new")
