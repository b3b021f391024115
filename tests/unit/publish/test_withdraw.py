"""Taking a release back, and rollouts as they are drafted."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pearrt.crypto.hashes import sha256
from pearrt.errors import UserError
from pearrt.publish.draft import Draft
from pearrt.publish.publication import Publication
from pearrt.publish.rotation import rotate
from pearrt.publish.withdraw import reinstate, revoke
from pearrt.trust.app import TrustedApp
from pearrt.trust.choice import Machine, choose
from pearrt.trust.release import Release
from pearrt.trust.revocation import MAX_REVOCATIONS, Action, Revocation
from pearrt.trust.rollout import RolloutStep
from tests.unit.publish.conftest import DAY, NOW, commit_rotation, draft_of, public_of, signed

ROLLOUT = (RolloutStep(NOW, 10), RolloutStep(NOW + DAY, 100))


def commit(publication: Publication, draft: Draft) -> Publication:
    return publication.commit(draft, signed(draft, "ada", "bob", "cyd"), NOW)


def released(publication: Publication, version: str, **fields: object) -> Publication:
    return commit(publication, draft_of(publication.trusted, version, **fields))


def current(trusted: TrustedApp) -> Release:
    release = trusted.release()
    assert release is not None
    return release


def test_a_revocation_is_taken_back_as_it_was_given(publication: Publication) -> None:
    first = released(publication, "1.0")
    digest = current(first.trusted).index_digest
    after = commit(first, revoke(first.trusted, [digest], Action.STOP, "Bad.", now=NOW))
    assert after.trusted.revoked(digest) == Revocation(digest, Action.STOP, "Bad.")
    again = commit(after, reinstate(after.trusted, [digest], now=NOW))
    assert again.trusted.revoked(digest) is None
    with pytest.raises(UserError, match="is revoked"):
        reinstate(again.trusted, [digest], now=NOW)


def test_more_than_the_metadata_can_hold_is_not_revoked(publication: Publication) -> None:
    many = [sha256(bytes([number])) for number in range(MAX_REVOCATIONS)]
    after = commit(publication, revoke(publication.trusted, many, Action.WARN, "Old.", now=NOW))
    assert len(after.trusted.targets.revocations) == MAX_REVOCATIONS
    assert revoke(after.trusted, many[:3], Action.STOP, "Bad.", now=NOW)
    with pytest.raises(UserError, match="At most"):
        revoke(after.trusted, [sha256(b"another")], Action.STOP, "Bad.", now=NOW)


def test_revocations_stay_through_releases_and_rotations_and_can_be_changed(publication: Publication) -> None:
    first = released(publication, "1.0")
    digest = current(first.trusted).index_digest
    for action in (Action.WARN, Action.STOP):
        first = commit(first, revoke(first.trusted, [digest], action, action.value, now=NOW))
    first = released(first, "2.0")
    heartbeat = next(iter(first.trusted.root.authorities["timestamp"].signers.values())).public
    rotation = rotate(first.trusted, [public_of("ada")], 1, heartbeat=heartbeat, now=NOW)
    root, targets = signed(rotation.root, "ada", "bob", "cyd"), signed(rotation.targets, "ada")
    after = commit_rotation(first, rotation, root, targets)
    assert after.trusted.targets.revocations == (Revocation(digest, Action.STOP, "stop"),)


@pytest.mark.parametrize("reason", ["two\nlines", "\x1b[2J", "x" * 281])
def test_a_reason_that_cannot_be_shown_is_not_drafted(publication: Publication, reason: str) -> None:
    with pytest.raises(UserError, match="reason"):
        revoke(publication.trusted, [bytes(32)], Action.WARN, reason, now=NOW)


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
