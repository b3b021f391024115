"""Releases: drafted, signed by a threshold, committed whole or not at all, confirmed by the heartbeat."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pearrt.errors import (
    BadSignature,
    Corrupt,
    Expired,
    Locked,
    PearrtError,
    StoreError,
    ThresholdNotMet,
    UserError,
)
from pearrt.publish import publication as publication_module
from pearrt.publish import servable
from pearrt.publish.draft import combine
from pearrt.publish.heartbeat import Heartbeat
from pearrt.publish.publication import METADATA, Publication
from pearrt.publish.release import targets_draft
from pearrt.publish.rotation import rotate
from pearrt.trust.app import TrustedApp
from pearrt.trust.freshness import FreshnessState
from tests.unit.publish.conftest import DAY, NOW, commit_rotation, draft_of, public_of, seed_of, signed


def release(publication: Publication, version: str, now: float = NOW, **fields: Any) -> Publication:
    draft = draft_of(publication.trusted, version, now, **fields)
    return publication.commit(draft, signed(draft, "ada", "bob", "cyd"), now)


def test_a_committed_release_is_what_everyone_updates_to(publication: Publication) -> None:
    before = TrustedApp.first(publication.app_key, publication.metadata, NOW)
    after = before.update(release(publication, "1.0").metadata, NOW + 1)
    found = after.release()
    assert found is not None
    assert (found.version, found.name, found.sequence, found.released_at) == ("1.0", "Ledger", 2, NOW)
    assert {signer.name for signer in after.signed_by} == {"ada", "bob", "cyd"}
    assert Publication.open(publication.folder).metadata == after.metadata


def test_what_no_peer_could_be_given_is_not_published(
    publication: Publication, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (publication.folder / METADATA).read_bytes()
    monkeypatch.setattr(servable, "MAX_CURRENT_BYTES", publication.metadata.current_bytes + 100)
    with pytest.raises(UserError, match="that peers can be given"):
        release(publication, "1.0")
    assert (publication.folder / METADATA).read_bytes() == before


def test_channels_and_platforms_stand_side_by_side(publication: Publication) -> None:
    for fields in ({}, {"channel": "beta"}, {"platform": "linux-x86_64"}, {"channel": "beta"}):
        publication = release(publication, f"{len(publication.trusted.releases)}.0", **fields)
    trusted = publication.trusted
    assert [found.path for found in trusted.releases] == ["beta/any", "stable/any", "stable/linux-x86_64"]
    assert trusted.release(platform="linux-x86_64") == trusted.releases[2]
    assert trusted.release(platform="linux-aarch64") == trusted.release() == trusted.releases[1]
    assert trusted.release("nightly") is None


def test_two_signatures_of_three_are_refused_by_name_and_nothing_is_written(publication: Publication) -> None:
    draft = draft_of(publication.trusted, "1.0")
    before = (publication.folder / METADATA).read_bytes()
    with pytest.raises(ThresholdNotMet) as caught:
        publication.commit(draft, signed(draft, "ada", "bob"), NOW)
    assert "cyd, dan, eve" in caught.value.hint or "cyd" in caught.value.hint
    assert (publication.folder / METADATA).read_bytes() == before


def test_signatures_of_another_draft_are_refused(publication: Publication) -> None:
    draft, other = draft_of(publication.trusted, "1.0"), draft_of(publication.trusted, "6.6.6")
    with pytest.raises(BadSignature):
        publication.commit(other, signed(draft, "ada", "bob", "cyd"), NOW)


def test_notes_of_several_lines_and_any_alphabet_arrive_unchanged(publication: Publication) -> None:
    notes = 'Новое:\n- "quotes"\\ and 日本\n- é'
    found = release(publication, "1.0", notes=notes).trusted.release()
    assert found is not None
    assert found.notes == notes


@pytest.mark.parametrize("version", ["1", "v1.0.0-rc.1+5", "2026.11", "1!2.0.post1", "ü", "9" * 64])
def test_a_version_is_any_printable_word(publication: Publication, version: str) -> None:
    found = release(publication, version).trusted.release()
    assert found is not None
    assert found.version == version


@pytest.mark.parametrize(
    "fields",
    [
        {"version": ""},
        {"version": "1 0"},
        {"version": "9" * 65},
        {"version": "1\x1b[2J"},
        {"name": "a\u202eb"},
        {"notes": "x" * 5000},
        {"channel": "Stable"},
        {"channel": "../x"},
        {"platform": ""},
        {"index_size": 1 << 40},
    ],
)
def test_what_a_verifier_would_refuse_is_the_users_error_before_anyone_signs(
    publication: Publication, fields: dict[str, Any]
) -> None:
    with pytest.raises(UserError):
        draft_of(publication.trusted, **({"version": "1"} | fields))


def test_two_people_who_commit_the_same_sequence_cannot_both(publication: Publication) -> None:
    mine, theirs = draft_of(publication.trusted, "1.0"), draft_of(publication.trusted, "1.1")
    committed = publication.commit(mine, signed(mine, "ada", "bob", "cyd"), NOW)
    with pytest.raises(UserError, match="published already"):
        publication.commit(theirs, signed(theirs, "ada", "bob", "cyd"), NOW)
    assert Publication.open(publication.folder).metadata == committed.metadata


def test_a_commit_is_repeated_after_an_interruption_with_the_same_result(publication: Publication) -> None:
    draft = draft_of(publication.trusted, "1.0")
    signatures = signed(draft, "ada", "bob", "cyd")
    once = publication.commit(draft, signatures, NOW)
    again = publication.commit(draft, signatures, NOW + 60)
    assert again.metadata.targets == once.metadata.targets
    assert again.trusted.release() == once.trusted.release()


def test_a_withdrawn_release_is_gone(publication: Publication) -> None:
    publication = release(release(publication, "1.0"), "2.0b", channel="beta")
    draft = targets_draft(publication.trusted, publication.trusted.releases[1:], NOW)
    publication = publication.commit(draft, signed(draft, "ada", "bob", "cyd"), NOW)
    assert [found.path for found in publication.trusted.releases] == ["stable/any"]


def test_more_than_sixteen_signatures_are_cut_to_what_is_needed(publication: Publication) -> None:
    names = [f"s{number}" for number in range(16)]
    heartbeat = publication.heartbeat
    public = heartbeat.public
    rotation = rotate(publication.trusted, [public_of(name) for name in names], 10, heartbeat=public, now=NOW)
    everybody = [*signed(rotation.root, "ada", "bob", "cyd", "dan", "eve"), *signed(rotation.root, *names)]
    made = commit_rotation(publication, rotation, everybody, signed(rotation.targets, *names))
    assert len(made.trusted.root.envelope.signatures) == 13
    assert made.trusted.threshold == 10


# The heartbeat.


def test_a_beat_confirms_without_a_new_release_and_keeps_the_snapshot(publication: Publication) -> None:
    publication = release(publication, "1.0")
    assert not publication.refresh_due(NOW + DAY - 1)
    assert publication.refresh_due(NOW + DAY)
    later = publication.refresh(NOW + DAY)
    assert later.trusted.freshness(NOW + DAY).confirmed_at == NOW + DAY
    assert later.metadata.snapshot == publication.metadata.snapshot
    assert later.metadata.targets == publication.metadata.targets
    assert later.trusted.timestamp.version > publication.trusted.timestamp.version


def test_a_publisher_restored_from_a_backup_does_not_contradict_its_own_heartbeat(
    publication: Publication,
) -> None:
    backup = (publication.folder / METADATA).read_bytes()
    seen = TrustedApp.first(publication.app_key, publication.refresh(NOW + 5).metadata, NOW + 5)
    (publication.folder / METADATA).write_bytes(backup)
    assert seen.update(Publication.open(publication.folder).refresh(NOW + 9).metadata, NOW + 9)


def test_without_a_heartbeat_nothing_is_due_and_freshness_is_unknown(publication: Publication) -> None:
    quiet = replace(publication, heartbeat=replace(publication.heartbeat, period_s=0))
    metadata = quiet.heartbeat.beat(quiet.metadata.roots, quiet.metadata.targets, NOW)
    trusted = TrustedApp.first(quiet.app_key, metadata, NOW)
    assert trusted.freshness(NOW + 4 * 365 * DAY).state is FreshnessState.UNKNOWN
    assert not quiet.refresh_due(NOW + 1000 * DAY)


def test_no_heartbeat_renews_what_the_signers_let_expire(publication: Publication) -> None:
    late = NOW + 6 * 365 * DAY
    with pytest.raises(Expired, match="root metadata expired"):
        publication.refresh(late)


def test_signers_can_bring_an_expired_app_back(publication: Publication) -> None:
    late = NOW + 6 * 365 * DAY
    public = publication.heartbeat.public
    team = [public_of(name) for name in ("ada", "bob", "cyd")]
    rotation = rotate(publication.trusted, team, 2, heartbeat=public, now=late)
    made = commit_rotation(
        publication,
        rotation,
        signed(rotation.root, "ada", "bob", "cyd"),
        signed(rotation.targets, "ada", "bob"),
        late,
    )
    assert made.trusted.freshness(late).state is FreshnessState.FRESH


# Rotation.


def test_a_rotation_hands_the_app_over_and_the_link_stays(publication: Publication) -> None:
    publication = release(publication, "1.0")
    before = TrustedApp.first(publication.app_key, publication.metadata, NOW)
    heartbeat = Heartbeat(seed_of("new heartbeat"))
    rotation = rotate(
        publication.trusted,
        [public_of("fay"), public_of("gus")],
        2,
        heartbeat=heartbeat.public,
        now=NOW,
    )
    with pytest.raises(ThresholdNotMet):
        combine(rotation.root, signed(rotation.root, "fay", "gus"))
    with pytest.raises(ThresholdNotMet):
        combine(rotation.root, signed(rotation.root, "ada", "bob", "cyd"))
    made = commit_rotation(
        publication,
        rotation,
        signed(rotation.root, "ada", "bob", "cyd", "fay", "gus"),
        signed(rotation.targets, "fay", "gus"),
        heartbeat=heartbeat,
    )
    after = before.update(made.metadata, NOW)
    assert after.app_key == before.app_key
    assert after.root_version == 2
    assert {signer.name for signer in after.signers} == {"fay", "gus"}
    assert [found.version for found in after.releases] == ["1.0"]
    assert Publication.open(publication.folder).heartbeat == heartbeat
    assert len(list(publication.folder.glob("heartbeat-*"))) == 1
    draft = draft_of(made.trusted, "2.0")
    assert made.commit(draft, signed(draft, "fay", "gus"), NOW).trusted.release()
    with pytest.raises(BadSignature):
        signed(draft, "ada")


def test_an_interrupted_rotation_is_repeated_and_a_late_one_refused(publication: Publication) -> None:
    heartbeat = Heartbeat(seed_of("new heartbeat"))
    public = heartbeat.public
    rotation, late = (
        rotate(publication.trusted, [public_of(name)], 1, heartbeat=public, now=NOW)
        for name in ("fay", "gus")
    )
    root = signed(rotation.root, "ada", "bob", "cyd", "fay")
    targets = signed(rotation.targets, "fay")
    once = commit_rotation(publication, rotation, root, targets, heartbeat=heartbeat)
    with pytest.raises(UserError, match="published already"):
        commit_rotation(
            publication,
            late,
            signed(late.root, "ada", "bob", "cyd", "gus"),
            signed(late.targets, "gus"),
            heartbeat=heartbeat,
        )
    again = commit_rotation(publication, rotation, root, targets, NOW + 1, heartbeat=heartbeat)
    assert again.metadata.roots == once.metadata.roots


# Crashes, damage, and a second process.


@pytest.mark.parametrize("kind", ["commit", "rotation"])
def test_a_crash_at_any_write_leaves_the_old_state_or_the_new(
    publication: Publication, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    old = publication.metadata
    heartbeat = Heartbeat(seed_of("new heartbeat"))
    public = heartbeat.public
    rotation = rotate(publication.trusted, [public_of("fay")], 1, heartbeat=public, now=NOW)
    draft = draft_of(publication.trusted, "1.0")

    def act() -> None:
        if kind == "commit":
            publication.commit(draft, signed(draft, "ada", "bob", "cyd"), NOW)
        else:
            root = signed(rotation.root, "ada", "bob", "cyd", "fay")
            commit_rotation(publication, rotation, root, signed(rotation.targets, "fay"), heartbeat=heartbeat)

    class Crash(BaseException):
        pass

    calls = {"left": 0}

    def dying(name: str, original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if name in ("fsync", "replace", "open") and (name != "open" or args[1] & os.O_CREAT):
                calls["left"] -= 1
                if calls["left"] == 0:
                    raise Crash
            return original(*args, **kwargs)

        return call

    survived = False
    for step in range(1, 30):
        calls["left"] = step
        with monkeypatch.context() as patch:
            for name in ("fsync", "replace", "open"):
                patch.setattr(os, name, dying(name, getattr(os, name)))
            try:
                act()
                survived = True
            except Crash:
                pass
        reopened = Publication.open(publication.folder)
        assert reopened.heartbeat in (publication.heartbeat, heartbeat)
        new = (1, 1) if kind == "commit" else (2, 0)
        assert (reopened.trusted.root_version, len(reopened.trusted.releases)) in {(1, 0), new}
        TrustedApp.first(publication.app_key, reopened.metadata, NOW)
        if survived:
            break
        if reopened.metadata != old:
            break  # it died after the rename: the new state is whole
    assert Publication.open(publication.folder).metadata != old


def test_a_full_disk_is_a_store_error_and_changes_nothing(
    publication: Publication, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StoreError("Cannot write.")

    monkeypatch.setattr(publication_module, "write_file", full)
    with pytest.raises(StoreError):
        release(publication, "1.0")
    monkeypatch.undo()
    assert Publication.open(publication.folder).metadata == publication.metadata


def test_a_second_process_that_publishes_at_once_is_told_to_wait(publication: Publication) -> None:
    with publication._locked(), pytest.raises(Locked):
        publication.refresh(NOW + 1)
    publication.refresh(NOW + 1)


@pytest.mark.parametrize("data", [b"", b"x", b"de", b"d5:rootslee"])
def test_damaged_metadata_is_a_clear_error(publication: Publication, data: bytes) -> None:
    (publication.folder / METADATA).write_bytes(data)
    with pytest.raises(Corrupt):
        Publication.open(publication.folder)


@pytest.mark.parametrize("data", [b"", b"{}", b'{"seed": "zz", "period_s": 1}', b"[]", b"x" * 5000])
def test_a_damaged_or_missing_heartbeat_is_a_clear_error(publication: Publication, data: bytes) -> None:
    (path,) = publication.folder.glob("heartbeat-*")
    path.write_bytes(data)
    with pytest.raises(Corrupt):
        Publication.open(publication.folder)
    path.unlink()
    with pytest.raises(Corrupt, match="heartbeat"):
        Publication.open(publication.folder)


def test_a_folder_that_is_none_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        Publication.open(tmp_path / "no")


def test_metadata_of_another_app_in_the_folder_is_noticed(publication: Publication, tmp_path: Path) -> None:
    moved = publication.folder.with_name("y" * 55)
    publication.folder.rename(moved)
    with pytest.raises(PearrtError):
        Publication.open(moved)
