"""Publishing with witnesses: nothing is out before they saw it, and they see one history only."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pearrt.atomic import write_file
from pearrt.errors import (
    BadSignature,
    Corrupt,
    Equivocation,
    ProtocolViolation,
    Rollback,
    ThresholdNotMet,
    UserError,
)
from pearrt.publish.app import new_app, witnesses_of
from pearrt.publish.changes import key_changes, witness_changes
from pearrt.publish.commit import commit
from pearrt.publish.desk import Desk
from pearrt.publish.draft import Draft
from pearrt.publish.heartbeat import Heartbeat
from pearrt.publish.publication import WAITING, Publication, new_heartbeat
from pearrt.publish.request import Request
from pearrt.publish.rotation import Rotation, rotate
from pearrt.publish.waiting import Waiting
from pearrt.publish.witness_answer import WitnessAnswer, WitnessRequest, find_witness_answers
from pearrt.trust.app import TrustedApp
from pearrt.trust.metadata_set import MetadataSet
from pearrt.trust.witness_book import WitnessBook
from tests.unit.publish.ceremony import signed_request
from tests.unit.publish.conftest import DAY, NAMES, NOW, commit_rotation, draft_of, public_of, seed_of, signed

WITNESSES = ("wim", "xia", "yan")


class Witness:
    """One witness with a book of its own."""

    def __init__(self, name: str, app_key: bytes) -> None:
        self.seed = seed_of(name)
        self.book = WitnessBook(app_key)

    def sees(self, request: WitnessRequest) -> WitnessAnswer:
        request = WitnessRequest.decode(request.encode())
        book, offered = self.book.take(request.metadata, NOW)
        answer = WitnessAnswer.of(book.cosign(offered, self.seed, NOW))
        self.book = WitnessBook.decode(request.app_key, book.encode())
        return find_witness_answers(f"> {answer}\n".encode())[0]


@pytest.fixture
def publication(tmp_path: Path) -> Publication:
    heartbeat = Heartbeat(seed_of("heartbeat"))
    new = new_app(
        [public_of(name) for name in NAMES],
        3,
        heartbeat=heartbeat.public,
        app_id=bytes(16),
        now=NOW,
        witnesses=witnesses_of([public_of(name) for name in WITNESSES], 0),
    )
    quorum = ("ada", "bob", "cyd")
    folder = tmp_path / "publishing"
    return Publication.create(
        folder, new, signed(new.root, *quorum), signed(new.targets, *quorum), heartbeat, NOW
    )


@pytest.fixture
def wim(publication: Publication) -> Witness:
    return Witness("wim", publication.app_key)


@pytest.fixture
def xia(publication: Publication) -> Witness:
    return Witness("xia", publication.app_key)


def committed(publication: Publication, draft: Draft, now: float = NOW) -> Publication:
    return publication.commit(draft, signed(draft, "ada", "bob", "cyd"), now)


def asked(publication: Publication) -> WitnessRequest:
    assert publication.waiting is not None
    return publication.waiting.request


def released(publication: Publication, version: str, *witnesses: Witness) -> Publication:
    waits = committed(publication, draft_of(publication.trusted, version))
    return waits.witness([each.sees(asked(waits)) for each in witnesses], NOW)


def rotated(
    publication: Publication, rotation: Rotation, *names: str, heartbeat: Heartbeat | None = None
) -> Publication:
    roots, targets = signed(rotation.root, *names), signed(rotation.targets, *names)
    return commit_rotation(publication, rotation, roots, targets, heartbeat=heartbeat)


def draft_witnesses(publication: Publication, *names: str) -> Rotation:
    trusted = publication.trusted
    return rotate(
        trusted,
        [public_of(name) for name in NAMES],
        3,
        heartbeat=publication.heartbeat.public,
        now=NOW,
        witnesses=witnesses_of([public_of(name) for name in names], 0) if names else None,
        unwitnessed=not names,
    )


def test_a_release_waits_until_a_quorum_of_witnesses_saw_it(
    publication: Publication, wim: Witness, xia: Witness
) -> None:
    waits = committed(publication, draft_of(publication.trusted, "1.0"))
    assert waits.waiting is not None
    assert not waits.trusted.releases
    assert waits.waiting.progress() == "seen by 0 of 2 witnesses; waiting for wim or xia or yan"
    waits = waits.witness([wim.sees(asked(waits))], NOW)
    assert waits.waiting is not None
    assert waits.waiting.progress() == "seen by 1 of 2 witnesses: wim; waiting for xia or yan"
    assert not Publication.open(waits.folder).trusted.releases
    out = waits.witness([xia.sees(asked(waits))], NOW)
    assert out.waiting is None
    assert [each.version for each in out.trusted.releases] == ["1.0"]
    assert [each.name for each in out.trusted.witnessed_by_of()] == ["wim", "xia"]
    again = Publication.open(out.folder)
    assert again.waiting is None
    assert again.metadata == out.metadata


def test_nobody_takes_what_waits(publication: Publication) -> None:
    user = TrustedApp.first(publication.app_key, publication.metadata, NOW)
    waits = committed(publication, draft_of(publication.trusted, "1.0"))
    with pytest.raises(ThresholdNotMet):
        user.update(asked(waits).metadata, NOW)


def test_heartbeats_go_on_while_a_release_waits(publication: Publication, wim: Witness, xia: Witness) -> None:
    waits = committed(publication, draft_of(publication.trusted, "1.0"))
    answers = [wim.sees(asked(waits)), xia.sees(asked(waits))]
    user = TrustedApp.first(publication.app_key, publication.metadata, NOW)
    beaten = waits.refresh(NOW + DAY).refresh(NOW + 2 * DAY)
    assert beaten.waiting is not None
    user = user.update(beaten.metadata, NOW + 2 * DAY)
    out = beaten.witness(answers, NOW)  # a clock that went back
    user = user.update(out.metadata, NOW + 2 * DAY)
    assert user.releases
    assert user.update(out.refresh(NOW + 3 * DAY).metadata, NOW + 3 * DAY).witnessed_by_of()


def test_another_release_does_not_push_one_aside_that_waits(publication: Publication) -> None:
    first, second = (draft_of(publication.trusted, version) for version in ("1.0", "2.0"))
    waits = committed(publication, first)
    assert committed(waits, first).waiting is not None
    with pytest.raises(UserError, match="waits for the app's witnesses"):
        committed(waits, second)
    assert committed(waits.withdraw(), second).waiting is not None


def test_a_witness_asked_for_a_fork_refuses(publication: Publication, wim: Witness, xia: Witness) -> None:
    waits = committed(publication, draft_of(publication.trusted, "1.0"))
    wim.sees(asked(waits))
    known = wim.book
    other = committed(waits.withdraw(), draft_of(publication.trusted, "1.0-secret"))
    with pytest.raises(Equivocation) as raised:
        wim.sees(asked(other))
    assert raised.value.first
    assert raised.value.second
    assert wim.book == known
    out = other.witness([each.sees(asked(other)) for each in (xia, Witness("yan", publication.app_key))], NOW)
    later = committed(out, draft_of(out.trusted, "2.0"))
    with pytest.raises(Equivocation) as raised:
        wim.sees(asked(later))
    assert raised.value.evidence, "two inclusion proofs show it to anyone"


def test_a_witness_takes_nothing_older(publication: Publication, wim: Witness, xia: Witness) -> None:
    waits = committed(publication, draft_of(publication.trusted, "1.0"))
    old = asked(waits)
    out = waits.witness([wim.sees(old), xia.sees(old)], NOW)
    released(out, "2.0", wim, xia)
    with pytest.raises(Rollback):
        wim.sees(old)


def test_a_witness_may_have_missed_releases_and_may_answer_twice(
    publication: Publication, wim: Witness, xia: Witness
) -> None:
    yan = Witness("yan", publication.app_key)
    out = released(publication, "1.0", wim, xia)
    for version in ("2.0", "3.0"):
        out = released(out, version, xia, yan)
    waits = committed(out, draft_of(out.trusted, "4.0"))
    assert wim.sees(asked(waits)) == wim.sees(asked(waits))
    twice = [wim.sees(asked(waits))] * 2
    assert waits.witness(twice, NOW).waiting is not None


def test_strangers_and_answers_to_something_else_are_refused(
    publication: Publication, wim: Witness, xia: Witness
) -> None:
    waits = committed(publication, draft_of(publication.trusted, "1.0"))
    good = wim.sees(asked(waits))
    with pytest.raises(BadSignature, match="none of the app's witnesses"):
        Witness("mal", publication.app_key).sees(asked(waits))
    for wrong in (
        replace(good, public=public_of("mal").key),
        replace(good, public=public_of("xia").key),
        replace(good, time=good.time + 1),
        replace(good, signatures=(*good.signatures, bytes(64))),
    ):
        with pytest.raises(BadSignature):
            waits.witness([wrong], NOW)
    out = waits.witness([good, xia.sees(asked(waits))], NOW)
    with pytest.raises(UserError, match="Nothing of this app waits"):
        out.witness([good], NOW)
    with pytest.raises(BadSignature, match="another release"):
        committed(out, draft_of(out.trusted, "2.0")).witness([good], NOW)


def test_witnesses_change_in_a_root_that_those_before_have_seen(
    publication: Publication, wim: Witness, xia: Witness
) -> None:
    user = TrustedApp.first(publication.app_key, publication.metadata, NOW)
    zoe = Witness("zoe", publication.app_key)
    waits = rotated(publication, draft_witnesses(publication, "zoe"), "ada", "bob", "cyd")
    waits = waits.witness([zoe.sees(asked(waits)), wim.sees(asked(waits))], NOW)
    assert waits.waiting is not None
    assert waits.trusted.root.version == 1
    out = waits.witness([xia.sees(asked(waits))], NOW)
    out = released(out, "1.0", zoe)
    user = user.update(out.metadata, NOW)
    assert [each.name for each in user.witnessed_by_of()] == ["zoe"]
    assert TrustedApp.first(publication.app_key, MetadataSet.decode(out.metadata.encode()), NOW).releases
    with pytest.raises(BadSignature, match="none of the app's witnesses"):
        wim.sees(asked(committed(out, draft_of(out.trusted, "2.0"))))


def test_a_review_shows_other_witnesses(publication: Publication) -> None:
    def shown(rotation: Rotation) -> tuple[str, ...]:
        changes = key_changes(Request.of(publication.trusted, rotation.root, rotation.targets))
        assert changes is not None
        return witness_changes(changes)

    assert shown(draft_witnesses(publication, "zoe", "wim")) == (
        "2 of 2 have to see every release: zoe, wim",
    )
    assert shown(draft_witnesses(publication, *WITNESSES)) == ()
    (alone,) = shown(draft_witnesses(publication))
    assert alone.startswith("nobody has to see releases any more")


def test_a_rotation_of_signers_keeps_the_witnesses(
    publication: Publication, wim: Witness, xia: Witness
) -> None:
    trusted, heartbeat = publication.trusted, Heartbeat(seed_of("another"))
    public = heartbeat.public
    rotation = rotate(trusted, [public_of(name) for name in NAMES[:4]], 3, heartbeat=public, now=NOW)
    waits = rotated(publication, rotation, "ada", "bob", "cyd", heartbeat=heartbeat)
    assert waits.heartbeat == publication.heartbeat
    assert waits.refresh(NOW + DAY).trusted.root.version == 1
    out = waits.witness([wim.sees(asked(waits)), xia.sees(asked(waits))], NOW + DAY)
    assert out.trusted.root.version == 2
    assert out.trusted.root.witnesses == trusted.root.witnesses
    assert Publication.open(out.folder).heartbeat == heartbeat
    assert len(list(out.folder.glob("heartbeat-*"))) == 1


def test_witnesses_change_while_the_heartbeat_goes_on_and_the_clock_goes_back(
    publication: Publication, wim: Witness, xia: Witness
) -> None:
    zoe = Witness("zoe", publication.app_key)
    waits = rotated(publication, draft_witnesses(publication, "zoe"), "ada", "bob", "cyd")
    answers = [each.sees(asked(waits)) for each in (wim, xia, zoe)]
    beaten = waits.refresh(NOW + 3 * DAY)
    user = TrustedApp.first(publication.app_key, beaten.metadata, NOW)
    assert user.update(beaten.witness(answers, NOW).metadata, NOW).root.version == 2


def test_an_app_moves_to_another_machine_once_its_witnesses_saw_it(
    publication: Publication, wim: Witness, xia: Witness, tmp_path: Path
) -> None:
    """The publisher's machine is lost, or its heartbeat was stolen: the new one waits as well."""
    user = TrustedApp.first(publication.app_key, publication.metadata, NOW)
    desk, heartbeat = Desk.of(tmp_path / "desk", user.app_key), new_heartbeat()
    desk.keep_heartbeat(heartbeat)
    public = heartbeat.public
    rotation = rotate(user, [public_of(name) for name in NAMES], 3, heartbeat=public, now=NOW)
    request = signed_request(Request.of(user, rotation.root, rotation.targets), "ada", "bob", "cyd")
    for _ in range(2):
        moving = commit(request, tmp_path / "elsewhere", desk, NOW)
        assert moving is not None
        assert moving.waiting is not None
        assert moving.trusted.root.version == 1
        assert not moving.refresh_due(NOW + 9 * DAY), "its key confirms nothing yet"
    assert moving is not None
    moving = Publication.open(moving.folder)
    moved = moving.witness([wim.sees(asked(moving)), xia.sees(asked(moving))], NOW + DAY)
    assert user.update(moved.metadata, NOW + DAY).root.version == 2
    assert moved.refresh_due(NOW + 9 * DAY)
    assert len(moved.refresh(NOW + 9 * DAY).trusted.witnessed_by_of()) == 2
    assert released(moved, "1.0", wim, xia).trusted.witnessed_by_of()


def test_lost_witnesses_are_removed_by_every_signer_together(publication: Publication) -> None:
    rotation = draft_witnesses(publication)
    waits = rotated(publication, rotation, "ada", "bob", "cyd")
    assert waits.waiting is not None
    out = rotated(waits.withdraw(), rotation, *NAMES)
    assert out.waiting is None
    out = committed(out, draft_of(out.trusted, "1.0"))
    assert out.trusted.releases
    assert TrustedApp.first(publication.app_key, out.metadata, NOW).releases


def test_witnesses_named_later_see_what_follows(publication: Publication, wim: Witness) -> None:
    out = rotated(publication, draft_witnesses(publication), *NAMES)
    out = committed(out, draft_of(out.trusted, "1.0"))
    waits = rotated(out, draft_witnesses(out, "wim"), "ada", "bob", "cyd")
    out = waits.witness([wim.sees(asked(waits))], NOW)
    assert released(out, "2.0", wim).trusted.witnessed_by_of()


@pytest.mark.parametrize("named", [("wim", "wim"), ("ada", "wim"), ("heartbeat",)])
def test_a_witness_is_one_person_who_signs_nothing_else(
    publication: Publication, named: tuple[str, ...]
) -> None:
    with pytest.raises(UserError):
        draft_witnesses(publication, *named)


@pytest.mark.parametrize(("count", "threshold"), [(2, 1), (4, 2), (3, 4), (17, 9)])
def test_two_quorums_share_a_witness(count: int, threshold: int) -> None:
    with pytest.raises(UserError):
        witnesses_of([public_of(f"w{number}") for number in range(count)], threshold)


def test_killed_between_publishing_and_tidying_nothing_waits_twice(
    publication: Publication, wim: Witness, xia: Witness
) -> None:
    waits = committed(publication, draft_of(publication.trusted, "1.0"))
    stale = (waits.folder / WAITING).read_bytes()
    out = waits.witness([wim.sees(asked(waits)), xia.sees(asked(waits))], NOW)
    (out.folder / WAITING).write_bytes(stale)
    assert Publication.open(out.folder).waiting is None
    assert committed(out, draft_of(out.trusted, "2.0")).waiting is not None


class Killed(BaseException):
    """As kill -9: no handler of ours sees it as an error."""


def test_killed_at_every_write_of_a_change_of_keys_it_is_old_or_new(
    publication: Publication, wim: Witness, xia: Witness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the commit to the last witness's answer, with another heartbeat. Every file is written or removed
    in one step, so between two of them is everywhere that a kill can hit."""
    heartbeat, left = Heartbeat(seed_of("another")), [0]
    public = heartbeat.public
    rotation = rotate(publication.trusted, [public_of(name) for name in NAMES], 3, heartbeat=public, now=NOW)

    def deadly(write: Callable[..., None]) -> Callable[..., None]:
        def step(*args: Any, **options: Any) -> None:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            write(*args, **options)

        return step

    def play(folder: Path) -> Publication:
        current = Publication.open(folder)
        if current.trusted.root.version == 1 and current.waiting is None:
            current = rotated(current, rotation, "ada", "bob", "cyd", heartbeat=heartbeat)
        if current.waiting is not None:
            answers = [each.sees(asked(current)) for each in (wim, xia)]
            current = current.witness(answers, NOW)
        return current

    for kill_at in itertools.count():
        folder = tmp_path / str(kill_at) / publication.folder.name
        shutil.copytree(publication.folder, folder)
        with monkeypatch.context() as patched:
            patched.setattr("pearrt.publish.publication.write_file", deadly(write_file))
            patched.setattr("pearrt.publish.history.write_file", deadly(write_file))
            patched.setattr(Path, "unlink", deadly(Path.unlink))
            left[0] = kill_at
            try:
                play(folder)
                break
            except Killed:
                pass
        found = Publication.open(folder)
        assert found.heartbeat.is_named_by(found.trusted.root)
        done = play(folder)
        assert (done.trusted.root.version, done.heartbeat, done.waiting) == (2, heartbeat, None)
        assert released(
            done, "1.0", Witness("wim", done.app_key), Witness("xia", done.app_key)
        ).trusted.releases
    assert kill_at >= 6


@pytest.mark.parametrize("bound", ["MAX_WITNESSED_BYTES", "MAX_CURRENT_BYTES"])
def test_what_could_not_hold_its_cosignatures_does_not_wait(
    publication: Publication, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(f"pearrt.publish.waiting.{bound}", 3 * 104 - 1)
    with pytest.raises(UserError, match="no room"):
        committed(publication, draft_of(publication.trusted, "1.0"))
    assert not (publication.folder / WAITING).exists()


def test_damaged_files_are_told(publication: Publication, wim: Witness) -> None:
    waits = committed(publication, draft_of(publication.trusted, "1.0"))
    data = asked(waits).encode()
    for broken in (
        data[:-1],
        data[:200] + b"x" + data[201:],
        b"",
        data.replace(b"pearrt-witness", b"pearrt-wetness"),
    ):
        with pytest.raises(ProtocolViolation):
            WitnessRequest.decode(broken)
    line = str(wim.sees(asked(waits)))
    for broken_line in (line[:-3], line[:40] + line[41:], line.replace("pearrt-witness:", "")):
        with pytest.raises(ProtocolViolation):
            find_witness_answers(broken_line.encode())
    with pytest.raises(Corrupt):
        WitnessBook.decode(publication.app_key, wim.book.encode()[:-5])
    assert isinstance(Waiting.restore(publication.trusted, asked(waits).metadata.encode()), Waiting)
