"""What a machine does with an installed release that was taken back, or that a rollout holds back."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from pearrt.app.followed import FollowedApp, current_choice, wanted
from pearrt.app.install import goes_back
from pearrt.app.library import AppFolder
from pearrt.app.record import Installed, Wish
from pearrt.app.revoked import heed_revocation, revocation_of
from pearrt.errors import NoSuchApp, TrustError
from pearrt.link import Link
from pearrt.trust.choice import Machine
from pearrt.trust.revocation import Action
from tests.support.metadata_channels import revocation, staged
from tests.support.repository import DAY, NOW, Repository, index_target

HERE = Machine(("any",), "1.0", bytes(32))


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setattr(time, "time", lambda: NOW - DAY)  # before the first step of a rollout
    return Repository().release("1.0")


def following(repository: Repository, folder: Path) -> FollowedApp:
    app = FollowedApp(Link(repository.app_key), AppFolder(folder, repository.app_key), machine=HERE)
    app.accept(repository.metadata().encode(), allow_stale=False)
    return app


def installed(app: FollowedApp, version: str, sequence: int) -> Installed:
    digest = hashlib.sha256(version.encode()).hexdigest()
    record = Installed(version, sequence, digest, [digest], "Ledger", 0)
    app.folder.tree(digest).mkdir(parents=True)
    app.folder.switch(record)
    return record


def test_a_warning_warns_and_nothing_else(repository: Repository, tmp_path: Path) -> None:
    repository["targets"]["x-pearrt-revoked"] = [revocation("1.0", "warn")]
    app = following(repository, tmp_path)
    record = installed(app, "1.0", 2)
    found = heed_revocation(app)
    assert found is not None
    assert (found.action, found.reason) == (Action.WARN, "It loses data.")
    assert app.folder.installed == record


def test_a_stopped_release_does_not_start_until_a_newer_one_is_there(
    repository: Repository, tmp_path: Path
) -> None:
    repository["targets"]["x-pearrt-revoked"] = [revocation("1.0")]
    app = following(repository, tmp_path)
    installed(app, "0.9", 1)
    record = installed(app, "1.0", 2)
    with pytest.raises(TrustError, match="revoked by its signers: It loses data"):
        heed_revocation(app)
    assert app.folder.installed == record
    app.accept(repository.release("2.0").metadata().encode(), allow_stale=False)
    with pytest.raises(NoSuchApp) as caught:  # which makes `run` install it
        heed_revocation(app)
    assert "2.0 takes its place" in caught.value.hint


def test_a_release_that_returns_steps_back_to_the_one_before_it(
    repository: Repository, tmp_path: Path
) -> None:
    repository["targets"]["x-pearrt-revoked"] = [revocation("1.0", "return")]
    app = following(repository, tmp_path)
    before = installed(app, "0.9", 1)
    installed(app, "1.0", 2)
    assert heed_revocation(app) is None
    assert app.folder.installed == before
    assert revocation_of(app, before) is None


def test_a_release_that_returns_waits_where_there_is_nothing_to_return_to(
    repository: Repository, tmp_path: Path
) -> None:
    repository["targets"]["x-pearrt-revoked"] = [revocation("1.0", "return"), revocation("0.9")]
    app = following(repository, tmp_path)
    installed(app, "0.9", 1)
    installed(app, "1.0", 2)
    with pytest.raises(TrustError):
        heed_revocation(app)


def test_a_rollout_never_takes_back_what_is_installed_but_a_revocation_does(
    repository: Repository, tmp_path: Path
) -> None:
    repository["targets"]["targets"]["stable/any"] = staged("3.0", "1.0")
    app = following(repository.bump("targets"), tmp_path)
    for version, sequence, back in (("1.0", 1, False), ("2.0", 2, True), ("3.0", 3, True)):
        choice = current_choice(app)
        assert choice is not None
        assert choice.release is not None
        assert choice.release.version == "1.0"
        assert goes_back(app, choice, installed(app, version, sequence)) is back
    repository["targets"]["x-pearrt-revoked"] = [revocation("2.0", "return")]
    app.accept(repository.bump("targets").metadata().encode(), allow_stale=False)
    choice, record = current_choice(app), app.folder.previous
    assert choice is not None
    assert record is not None
    assert not goes_back(app, choice, record)


def test_whoever_seeds_has_what_a_rollout_falls_back_on_and_a_publisher_has_everything(
    repository: Repository, tmp_path: Path
) -> None:
    targets = repository["targets"]["targets"]
    targets["stable/any"] = staged("3.0", "1.0")
    targets["stable/macos-arm64"] = index_target("3.0-mac")
    repository.delegate("beta").release("4.0b", "beta/any")
    app = following(repository, tmp_path)
    assert {release.version for release in wanted(app)} == {"1.0", "3.0"}
    app.machine = Machine(("any",), "1.0", b"\x07" * 32)
    app.folder.wish = Wish(str(app.link), seed=True)
    assert {release.version for release in wanted(app)} == {"1.0", "3.0"}
    app.published = True
    assert {release.version for release in wanted(app)} == {"1.0", "3.0", "3.0-mac", "4.0b"}
