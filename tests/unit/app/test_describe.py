"""What `pearrt info` says of one app: why the newest release is not taken, and where its files are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pearrt.app import describe
from pearrt.app.describe import described, held_back, places
from pearrt.app.followed import FollowedApp
from pearrt.app.library import AppFolder
from pearrt.app.record import Installed
from pearrt.bundle.index import Index
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.crypto.hashes import sha256
from pearrt.link import Link
from pearrt.store.service import Store
from pearrt.trust.choice import Choice
from pearrt.trust.release import Release

KEY = bytes(32)


def manifest(permissions: dict[str, Any]) -> Manifest:
    return Manifest("app", "2.0", Entry(module="app"), permissions=permissions)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


@pytest.fixture
def app(tmp_path: Path) -> FollowedApp:
    app = FollowedApp(Link(KEY), AppFolder(tmp_path, KEY))
    app.folder.create()
    return app


def release(store: Store, permissions: dict[str, Any]) -> Release:
    data = Index(manifest(permissions), (), "zstd", ()).encode()
    store.put(sha256(data), data)
    return Release("stable", "any", "app", "2.0", 2, sha256(data), len(data), (sha256(data),), "", 0.0)


def install(app: FollowedApp, digest: bytes) -> None:
    app.folder.switch(Installed("1.0", 1, digest.hex(), [], "app", 0))


def newest_is(monkeypatch: pytest.MonkeyPatch, newest: Release, reason: str = "") -> None:
    choice = Choice(None if reason else newest, newest, reason)
    monkeypatch.setattr(describe, "current_choice", lambda _: choice)


@pytest.mark.parametrize("installed", [False, True])
def test_a_release_that_asks_for_something_unknown_is_named_with_the_next_step(
    app: FollowedApp, store: Store, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    newest_is(monkeypatch, release(store, {"camera": True}))
    if installed:
        install(app, b"1" * 32)
    said = held_back(app, store)
    assert "app 2.0 asks for what this version of pearrt does not know" in said
    assert "`pearrt update`" in said


def test_what_signers_or_a_rollout_hold_back_is_said(
    app: FollowedApp, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest_is(monkeypatch, release(store, {}), "app 2.0 needs pearrt 9.")
    assert held_back(app, store) == "app 2.0 needs pearrt 9."


def test_who_has_the_newest_by_their_own_wish_is_not_told_that_it_is_held_back(
    app: FollowedApp, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = release(store, {})
    newest_is(monkeypatch, newest, "app 2.0 is rolled out in stages.")
    install(app, newest.index_digest)
    assert held_back(app, store) == ""


def test_a_release_that_the_person_went_back_from_waits_for_them(
    app: FollowedApp, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = release(store, {})
    newest_is(monkeypatch, newest)
    install(app, b"1" * 32)
    assert held_back(app, store) == ""
    app.folder.skipped = newest.index_digest.hex()
    assert "`pearrt run --update`" in held_back(app, store)


def test_what_is_known_of_nothing_holds_nothing_back(app: FollowedApp, store: Store) -> None:
    assert held_back(app, store) == ""


def test_an_index_that_has_not_come_yet_is_no_reason(
    app: FollowedApp, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest_is(monkeypatch, Release("stable", "any", "app", "2.0", 2, b"2" * 32, 9, (b"3" * 32,), "", 0.0))
    assert held_back(app, store) == ""


def test_permissions_are_those_of_what_runs_and_none_are_made_up() -> None:
    waiting, installed, unknown = manifest({"notify": True}), manifest({}), manifest({"camera": True})
    assert described([]) == described([unknown]) == []
    assert described([waiting, installed]) == described([installed]) != described([waiting])


def test_files_are_named_where_they_are(app: FollowedApp) -> None:
    app.folder.data.rmdir()
    assert places(app.folder) == {}
    app.folder.data.mkdir()
    app.folder.log.write_text("2026-01-01T00:00:00Z info hello\n")
    assert places(app.folder) == {"data": str(app.folder.data), "log": str(app.folder.log)}
