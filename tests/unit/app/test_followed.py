"""What a followed app trusts of what peers show it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pearrt.app.followed import FollowedApp
from pearrt.app.library import AppFolder
from pearrt.errors import Equivocation
from pearrt.link import Link
from pearrt.trust.contradiction import Contradiction
from tests.support.repository import NOW, Repository


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setattr(time, "time", lambda: NOW)
    return Repository().release("1.0")


@pytest.fixture
def app(repository: Repository, tmp_path: Path) -> FollowedApp:
    app = FollowedApp(Link(repository.app_key), AppFolder(tmp_path, repository.app_key))
    app.accept(repository.metadata().encode(), allow_stale=False)
    return app


def test_two_contradicting_timestamps_are_kept_as_proof_and_nothing_changes(
    app: FollowedApp, repository: Repository
) -> None:
    before = app.timestamp()
    repository["timestamp"]["x-other"] = 1
    other = repository.metadata()
    with pytest.raises(Equivocation):
        app.consider_timestamp(other.timestamp)
    assert app.folder.equivocation == Contradiction(before or b"", other.timestamp)
    assert app.timestamp() == before


def test_two_contradicting_releases_are_kept_as_proof(app: FollowedApp, repository: Repository) -> None:
    repository["targets"]["x-other"] = 1
    for role in ("snapshot", "timestamp"):
        repository[role]["version"] += 1
    with pytest.raises(Equivocation):
        app.accept(repository.metadata().encode(), allow_stale=True)
    assert app.trusted is not None
    proof = Contradiction(app.trusted.metadata.targets, repository.metadata().targets)
    assert app.folder.equivocation == proof


def test_gossip_says_what_is_worth_fetching(app: FollowedApp, repository: Repository) -> None:
    assert not app.consider_timestamp(repository.metadata().timestamp)
    assert app.consider_timestamp(repository.beat().metadata().timestamp)
    assert app.folder.equivocation is None
