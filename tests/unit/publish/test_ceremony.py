"""The ceremony: any order, each signer once, and nothing that was not asked for."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from pearrt.errors import BadSignature, ThresholdNotMet, UserError
from pearrt.publish.answer import Answer
from pearrt.publish.ceremony import collect, signed_blobs, tally
from pearrt.publish.changes import channel_changes, key_changes, kind_of, new_revocations, release_changes
from pearrt.publish.channel import delegate_channel
from pearrt.publish.commit import check_current, commit, is_committed
from pearrt.publish.desk import Desk
from pearrt.publish.publication import Publication, new_heartbeat, publications
from pearrt.publish.release import Variant, make_releases
from pearrt.publish.request import Request
from pearrt.publish.rotation import change_team, rotate
from pearrt.publish.signers import SeedKey, answer
from pearrt.publish.withdraw import revoke
from pearrt.trust.app import TrustedApp
from pearrt.trust.revocation import Action
from tests.support.stolen_heartbeat import HIGHEST, run_forward
from tests.unit.publish.ceremony import answered, release_request, signed_request
from tests.unit.publish.conftest import DAY, NOW, Team, draft_of, public_of, seed_of


@pytest.fixture
def desk(publication: Publication, tmp_path: Path) -> Desk:
    return Desk.of(tmp_path / "ceremonies", publication.app_key)


def desk_of(folder: Path, request: Request) -> Desk:
    return Desk.of(folder / "desk", request.app_key)


def committed(publication: Publication, request: Request, desk: Desk, now: float = NOW) -> Publication:
    made = commit(request, publication.folder.parent, desk, now)
    assert made is not None
    return made


def test_answers_come_in_any_order_and_give_one_and_the_same_release(publication: Publication) -> None:
    request = release_request(publication)
    answers = answered(request, "ada", "cyd", "eve")
    blobs = {signed_blobs(collect(request, order))["targets"] for order in itertools.permutations(answers)}
    assert len(blobs) == 1


def test_it_says_who_is_awaited(publication: Publication) -> None:
    request = release_request(publication)
    says = [
        str(tally(signed_request(request, *names)))
        for names in ((), ("ada",), ("ada", "bob"), ("ada", "bob", "cyd"), ("ada", "bob", "cyd", "dan"))
    ]
    assert says == [
        "0 of 3, waiting for 3 of ada, bob, cyd, dan and eve",
        "1 of 3, waiting for 2 of bob, cyd, dan and eve",
        "2 of 3, waiting for cyd, dan or eve",
        "3 of 3",
        "4 of 3",
    ]


def test_when_all_are_needed_it_waits_for_this_one_and_that_one(tmp_path: Path, team: Team) -> None:
    new = team.new_app(threshold=5)
    request = Request.of_new_app(new.root, new.targets)
    assert str(tally(signed_request(request, "ada", "bob", "cyd"))) == "3 of 5, waiting for dan and eve"


def test_a_request_below_the_threshold_is_not_published(publication: Publication, desk: Desk) -> None:
    request = signed_request(release_request(publication), "ada", "eve")
    with pytest.raises(ThresholdNotMet) as caught:
        commit(request, publication.folder.parent, desk, NOW)
    assert "2 of 3" in caught.value.message
    assert "bob, cyd or dan" in caught.value.hint
    assert Publication.open(publication.folder).trusted.release() is None


def test_a_signer_who_answers_twice_is_refused_by_name(publication: Publication) -> None:
    request = release_request(publication)
    with pytest.raises(UserError, match="bob answered already"):
        collect(request, answered(request, "ada", "bob", "bob"))
    with pytest.raises(UserError, match="ada answered already"):
        collect(signed_request(request, "ada"), answered(request, "ada"))


def test_a_stranger_neither_signs_nor_is_collected(publication: Publication) -> None:
    request = release_request(publication)
    stranger = SeedKey(seed_of("mallory"))
    with pytest.raises(BadSignature, match="none of those"):
        answer(request, stranger)
    forged = Answer(request.digest, stranger.public, ((0, stranger.sign(request.drafts[0].payload)),))
    with pytest.raises(BadSignature, match="none of those"):
        collect(request, [forged])


def test_a_false_signature_names_whose_it_is(publication: Publication) -> None:
    request, other = release_request(publication), release_request(publication, "6.6.6")
    (good,) = answered(other, "bob")
    with pytest.raises(BadSignature, match="by bob is false"):
        collect(request, [replace(good, request=request.digest)])


def test_an_answer_to_another_request_shows_both_fingerprints(publication: Publication) -> None:
    request, other = release_request(publication), release_request(publication, "6.6.6")
    with pytest.raises(UserError, match="another request") as caught:
        collect(request, answered(other, "bob"))
    assert caught.value.message.count("“") == 2


def test_an_answer_signs_all_that_its_signer_is_asked_to(publication: Publication) -> None:
    rotation = rotate(
        publication.trusted,
        [public_of(name) for name in ("ada", "bob", "fay")],
        2,
        heartbeat=publication.heartbeat.public,
        now=NOW,
    )
    request = Request.of(publication.trusted, rotation.root, rotation.targets)
    (ada,) = answered(request, "ada")
    assert len(ada.signatures) == 2
    assert [len(each.signatures) for each in answered(request, "cyd", "fay")] == [1, 2]
    with pytest.raises(BadSignature, match="does not sign all"):
        collect(request, [replace(ada, signatures=ada.signatures[:1])])


def test_a_rotation_wants_the_old_and_the_new_signers(publication: Publication, desk: Desk) -> None:
    before = publication.trusted
    team = change_team(before, add=[public_of("fay")], remove=["dan", "eve"], threshold=None)
    heartbeat = publication.heartbeat.public
    rotation = rotate(before, team.signers, team.threshold, heartbeat=heartbeat, now=NOW)
    request = Request.of(before, rotation.root, rotation.targets)
    assert kind_of(request) == "root"
    changes = key_changes(request)
    assert changes is not None
    assert (changes.added, changes.removed, changes.threshold) == (("fay",), ("dan", "eve"), (3, 3))
    assert not changes.heartbeat_changed
    assert not changes.uneven
    half = signed_request(request, "ada", "bob", "dan")
    assert str(tally(half)) == "old signers: 3 of 3; new signers: 2 of 3, waiting for cyd or fay"
    with pytest.raises(ThresholdNotMet):
        commit(half, publication.folder.parent, desk, NOW)
    done = committed(publication, signed_request(request, "ada", "bob", "cyd"), desk)
    assert before.update(done.metadata, NOW + 1).root_version == 2
    assert done.app_key == before.app_key


def test_an_app_of_one_grows_to_three_of_five_with_its_link(tmp_path: Path, team: Team) -> None:
    from pearrt.publish.app import new_app

    heartbeat = new_heartbeat()
    public = heartbeat.public
    new = new_app([public_of("ada")], 1, heartbeat=public, app_id=bytes(16), now=NOW)
    request = Request.of_new_app(new.root, new.targets)
    desk = Desk.of(tmp_path / "ceremonies", request.app_key)
    desk.keep_heartbeat(heartbeat)
    solo = commit(signed_request(request, "ada"), tmp_path / "publishing", desk, NOW)
    assert solo is not None
    more = [public_of(name) for name in ("bob", "cyd", "dan", "eve")]
    grown = change_team(solo.trusted, add=more, remove=[], threshold=3)
    rotation = rotate(solo.trusted, grown.signers, 3, heartbeat=public, now=NOW)
    request = Request.of(solo.trusted, rotation.root, rotation.targets)
    made = committed(solo, signed_request(request, "ada", "bob", "eve"), desk)
    assert made.app_key == solo.app_key
    assert (made.trusted.threshold, len(made.trusted.signers)) == (3, 5)


def test_a_stolen_heartbeat_that_was_run_forward_is_recovered_from_on_a_new_machine(
    publication: Publication, tmp_path: Path
) -> None:
    """The thief reached the last version there is; a machine that only knows the app takes over."""
    user = TrustedApp.first(publication.app_key, publication.metadata, NOW)
    user = user.update(run_forward(publication.heartbeat, user, NOW), NOW)
    assert user.timestamp.version == HIGHEST
    desk, heartbeat = Desk.of(tmp_path / "new", user.app_key), new_heartbeat()
    desk.keep_heartbeat(heartbeat)
    signers = change_team(user, add=[], remove=[], threshold=None).signers
    rotation = rotate(user, signers, 3, heartbeat=heartbeat.public, now=NOW)
    request = signed_request(Request.of(user, rotation.root, rotation.targets), "bob", "cyd", "dan")
    assert key_changes(request).heartbeat_changed  # type: ignore[union-attr]
    assert commit(request, tmp_path / "elsewhere", Desk.of(tmp_path / "other", user.app_key), NOW) is None
    moved = commit(request, tmp_path / "publishing", desk, NOW)
    assert moved is not None
    recovered = user.update(moved.metadata, NOW + 1)
    assert recovered.timestamp.version < HIGHEST
    assert desk.heartbeat_for(recovered.root) is None, "the key lies with the publication now"
    assert moved.refresh(NOW + DAY).trusted.timestamp.version > recovered.timestamp.version


def test_an_app_that_moved_away_can_come_back(publication: Publication, tmp_path: Path) -> None:
    """The folder of its first stay is set aside, not built upon: it knows nothing of the time between."""
    here, there = tmp_path / "publishing", tmp_path / "elsewhere"
    first, trusted = publication, publication.trusted
    for at, publishing in enumerate((there, here)):
        desk, heartbeat = Desk.of(tmp_path / f"desk-{at}", trusted.app_key), new_heartbeat()
        desk.keep_heartbeat(heartbeat)
        team = change_team(trusted, add=[], remove=[], threshold=None)
        public = heartbeat.public
        rotation = rotate(trusted, team.signers, 3, heartbeat=public, now=NOW)
        request = signed_request(Request.of(trusted, rotation.root, rotation.targets), "ada", "bob", "cyd")
        made = commit(request, publishing, desk, NOW + at)
        assert made is not None
        trusted = made.trusted
    assert Publication.open(first.folder).trusted.root_version == 3
    assert publications(here) == [first.folder]
    again = commit(request, here, desk, NOW + 9)
    assert again is not None
    assert again.trusted.root_version == 3


def test_a_lost_signer_is_named_by_name_id_or_key_and_nobody_twice(publication: Publication) -> None:
    trusted = publication.trusted
    for named in ("eve", str(public_of("eve")), trusted.signers[4].keyid, trusted.signers[4].keyid[:8]):
        left = change_team(trusted, add=[], remove=[named], threshold=None)
        assert [key.comment for key in left.signers] == ["ada", "bob", "cyd", "dan"]
    with pytest.raises(UserError, match="No signer"):
        change_team(trusted, add=[], remove=["mallory"], threshold=None)
    with pytest.raises(UserError, match="signs already"):
        change_team(trusted, add=[public_of("ada")], remove=[], threshold=None)


def test_a_revocation_goes_through_the_same_ceremony(publication: Publication, desk: Desk) -> None:
    publication = committed(
        publication, signed_request(release_request(publication), "ada", "bob", "cyd"), desk
    )
    digest = publication.trusted.releases[0].index_digest
    draft = revoke(publication.trusted, [digest], Action.STOP, "It eats notes", now=NOW)
    request = Request.of(publication.trusted, draft)
    assert kind_of(request) == "revoke"
    assert [each.reason for each in new_revocations(request)] == ["It eats notes"]
    made = committed(publication, signed_request(request, "ada", "bob", "cyd"), desk)
    assert made.trusted.revoked(digest) is not None


def test_a_channel_of_its_own_is_given_and_released_to_by_its_signers(
    publication: Publication, desk: Desk
) -> None:
    given = delegate_channel(publication.trusted, "beta", [public_of("zoe"), public_of("yan")], 1, now=NOW)
    request = Request.of(publication.trusted, given.targets, given.channel)
    assert kind_of(request) == "channel"
    assert channel_changes(request) == ("beta is signed by 1 of 2: zoe, yan",)
    says = str(tally(signed_request(request, "ada", "zoe")))
    assert (
        says == "the app's signers: 1 of 3, waiting for 2 of bob, cyd, dan and eve; signers of beta: 1 of 1"
    )
    publication = committed(publication, signed_request(request, "ada", "bob", "cyd", "zoe"), desk)
    draft = draft_of(publication.trusted, "1.0b1", channel="beta")
    request = Request.of(publication.trusted, draft)
    assert [change.path for change in release_changes(request)] == ["beta/any"]
    with pytest.raises(BadSignature):
        answered(request, "ada")
    made = committed(publication, signed_request(request, "yan"), desk)
    assert made.trusted.release("beta").version == "1.0b1"  # type: ignore[union-attr]


def test_a_committed_request_is_known_and_a_second_commit_changes_nothing(
    publication: Publication, desk: Desk
) -> None:
    request = signed_request(release_request(publication), "ada", "bob", "cyd")
    assert not is_committed(request, publication.trusted)
    made = committed(publication, request, desk)
    assert is_committed(request, made.trusted)
    assert committed(publication, request, desk, NOW + 5).trusted.targets.version == 2


def test_a_request_that_was_overtaken_is_neither_signed_nor_published(
    publication: Publication, desk: Desk
) -> None:
    late = signed_request(release_request(publication, "1.1"), "ada", "bob", "cyd")
    made = committed(publication, signed_request(release_request(publication), "ada", "bob", "cyd"), desk)
    with pytest.raises(UserError, match="out already"):
        check_current(late, made.trusted)
    with pytest.raises(UserError, match="published already"):
        commit(late, publication.folder.parent, desk, NOW)


def test_two_statements_of_one_version_stop_the_signer(
    publication: Publication, team: Team, tmp_path: Path
) -> None:
    other = team.publication(tmp_path / "other")
    mine = release_request(publication, "1.0")
    theirs = release_request(other, "6.6.6")
    assert mine.app_key == theirs.app_key
    here = commit(
        signed_request(mine, "ada", "bob", "cyd"), publication.folder.parent, desk_of(tmp_path, mine), NOW
    )
    there = commit(
        signed_request(theirs, "ada", "bob", "cyd"), other.folder.parent, desk_of(tmp_path, theirs), NOW
    )
    assert here is not None
    assert there is not None
    with pytest.raises(UserError, match="another targets 2"):
        check_current(release_request(there, "2.0"), here.trusted)


def test_variants_for_several_platforms_are_one_request(publication: Publication, desk: Desk) -> None:
    from pearrt.publish.release import Variant, make_releases

    variants = [
        Variant(name, bytes([n]) * 32, 9, (bytes([n]) * 32,))
        for n, name in enumerate(("any", "linux-x86_64"))
    ]
    draft = make_releases(publication.trusted, variants, name="Ledger", version="1.0", now=NOW)
    request = signed_request(Request.of(publication.trusted, draft), "ada", "bob", "cyd")
    assert [change.path for change in release_changes(request)] == ["stable/any", "stable/linux-x86_64"]
    assert len(committed(publication, request, desk).trusted.releases) == 2


def test_what_changes_is_told_from_the_signed_bytes(publication: Publication, desk: Desk) -> None:
    publication = committed(
        publication, signed_request(release_request(publication), "ada", "bob", "cyd"), desk
    )
    same = publication.trusted.releases[0]
    variant = Variant("any", same.index_digest, same.index_size, same.index_blocks)
    draft = make_releases(publication.trusted, [variant], name=same.name, version="1.0.1", now=NOW)
    (change,) = release_changes(Request.of(publication.trusted, draft))
    assert change.bundle is None, "the same bundle under another version: nothing new to look at"
    assert (change.before and change.before.version, change.after and change.after.version) == (
        "1.0",
        "1.0.1",
    )


def test_the_desk_remembers_reviews_requests_and_what_was_published(
    publication: Publication, desk: Desk
) -> None:
    request = release_request(publication)
    assert desk.review_of(request) is None
    desk.keep(request)
    desk.reviewed(request, "six words", NOW)
    assert desk.review_of(request) == "six words"
    assert desk.review_of(release_request(publication, "1.1")) is None
    (desk.folder / "damaged.request").write_bytes(b"nothing")
    assert [each.digest for each in desk.requests()] == [request.digest]
    desk.finish(request)
    assert desk.requests() == []
    assert [each.digest for each in desk.committed()] == [request.digest]
    assert desk.review_of(request) is None
