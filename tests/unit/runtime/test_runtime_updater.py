"""The updater's gates: revoked while it downloads or is examined; unhealthy; no room; one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pearrt.app.library import AppFolder
from pearrt.app.progress import silent
from pearrt.errors import DigestMismatch, Full, Locked, NoPeers, PearrtError
from pearrt.runtime import state as states
from pearrt.runtime import updater
from pearrt.runtime.policy import Policy
from pearrt.runtime.updater import Outcome, Updater
from pearrt.store.service import Store
from pearrt.trust.revocation import Action, Revocation
from tests.support import runtime_crash
from tests.support.runtime_crash import APP_KEY, Home
from tests.support.trees import bundle, write_tree


class Rig:
    """A home with version 0, and version 1 on offer. `revoked` and `fault` may be set at any time."""

    def __init__(self, root: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        bundles = [
            bundle(write_tree(root / "in" / str(n), {"a": b"%d" % n}), codec="zlib", level=1) for n in (0, 1)
        ]
        self.home = Home(root, bundles)
        self.home.install()
        self.digest = self.home.digests[1]
        self.revoked, self.fault = False, ""
        self.action, self.revocable = Action.RETURN, {self.digest}
        self.bundles, self.monkeypatch = bundles, monkeypatch
        self.allowed = Policy()
        self.examined = 0
        monkeypatch.setattr(updater, "newest", runtime_crash._choosing(bundles[1], "1"))
        monkeypatch.setattr(updater, "fetch", runtime_crash._downloading(bundles[1], store))
        app: Any = SimpleNamespace(
            folder=AppFolder(root / "apps", APP_KEY),
            link=runtime_crash.Link(APP_KEY),
            trusted=SimpleNamespace(revoked=self._revocation),
            members=SimpleNamespace(drop_bundle=lambda _: None),
        )
        self.updater = Updater(
            self.home.runtime, app, store, policy=lambda _: self.allowed, fault=self._examine
        )

    def _revocation(self, digest: bytes) -> Revocation | None:
        if not self.revoked or digest.hex() not in self.revocable:
            return None
        return Revocation(digest, self.action, "it loses notes")

    def offer(self, number: int | None) -> None:
        """What the signers name: a version, or none any more."""
        chosen = SimpleNamespace(release=None, newest=None, reason="none is left")
        choosing = runtime_crash._choosing(self.bundles[number], str(number)) if number is not None else None
        self.monkeypatch.setattr(updater, "newest", choosing or (lambda *_, **__: chosen))

    def confirm(self) -> None:
        """Version 1 has stood its trial."""
        assert self.look().trial == self.digest
        self.home.runtime.edit(lambda state: states.confirm(state, self.digest))

    async def _examine(self, digest: str) -> str:
        assert self.home.folder.tree(digest).is_dir()
        self.examined += 1
        return self.fault

    def look(self, *, retry: bool = False) -> Outcome:
        return asyncio.run(self.updater.look(silent, eager=retry, retry=retry))

    def assert_old_runs(self) -> None:
        state = self.home.runtime.read()
        assert (state.runs, state.trial) == (self.home.digests[0], "")
        installed = self.home.folder.installed
        assert installed is not None
        assert installed.index_digest == self.home.digests[0]
        assert not self.home.folder.tree(self.digest).exists()


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    with Store(tmp_path / "store") as store:
        yield Rig(tmp_path, store, monkeypatch)


def test_a_healthy_version_begins_its_trial_and_the_one_before_it_stays(rig: Rig) -> None:
    assert rig.look() == Outcome("1", trial=rig.digest)
    assert rig.home.runtime.read().runs == rig.digest
    assert rig.home.folder.tree(rig.home.digests[0]).is_dir()


def test_an_unhealthy_version_is_refused_for_good_and_its_tree_goes(rig: Rig) -> None:
    rig.fault = "it has no API"
    assert "it has no API" in rig.look().reason
    rig.assert_old_runs()
    rig.fault = ""
    assert "failed here: it has no API. `pearrt update --retry`" in rig.look().reason
    assert rig.examined == 1


def test_by_the_persons_wish_a_failed_version_is_examined_and_tried_again(rig: Rig) -> None:
    rig.look()
    rig.home.runtime.edit(lambda state: states.fail(state, "it fell over"))
    rig.fault = "it has no API"
    assert "it has no API" in rig.look(retry=True).reason
    rig.assert_old_runs()
    assert dict(rig.home.runtime.read().failed) == {rig.digest: "it has no API"}
    rig.fault = ""
    assert rig.look(retry=True) == Outcome("1", trial=rig.digest)
    state = rig.home.runtime.read()
    assert (state.runs, dict(state.failed)) == (rig.digest, {})


def test_a_retry_breaks_no_pin(rig: Rig) -> None:
    rig.fault = "it has no API"
    rig.look()
    rig.updater.policy = lambda _: Policy(pin="7")
    assert "pinned to 7" in rig.look(retry=True).reason
    assert rig.digest in rig.home.runtime.read().failed


def test_a_version_revoked_while_it_downloads_is_not_even_unpacked(rig: Rig) -> None:
    rig.revoked = True
    assert "revoked" in rig.look().reason
    assert rig.examined == 0
    rig.assert_old_runs()


def test_a_version_revoked_while_it_is_examined_never_starts(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def revoked_meanwhile(digest: str) -> str:
        rig.revoked = True
        return ""

    rig.updater.fault = revoked_meanwhile
    assert "revoked" in rig.look().reason
    rig.assert_old_runs()


def test_on_a_full_disk_the_old_version_runs_and_the_new_one_is_not_blamed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise Full("No space.")

    monkeypatch.setattr(updater, "unpack", full)
    with pytest.raises(Full):
        rig.look()
    rig.assert_old_runs()
    assert rig.home.runtime.read().failed == {}
    monkeypatch.undo()


def test_where_another_updater_is_at_work_this_one_leaves_it_alone(rig: Rig) -> None:
    with rig.home.runtime.updating(), pytest.raises(Locked):
        rig.look()
    rig.assert_old_runs()


def test_half_a_tree_under_the_right_name_is_unpacked_anew(rig: Rig) -> None:
    tree = rig.home.folder.tree(rig.digest)
    tree.mkdir()
    (tree / "a").write_text("half")
    rig.updater.reconcile = rig.home.runtime.read  # type: ignore[method-assign]
    assert rig.look().trial == rig.digest
    assert (tree / "a").read_bytes() == b"1"


def test_after_a_failed_trial_the_apps_record_follows_the_state(rig: Rig) -> None:
    rig.look()
    rig.home.runtime.edit(lambda state: states.fail(state, "crash"))
    rig.updater.reconcile()
    rig.assert_old_runs()


@pytest.mark.parametrize("action", [Action.RETURN, Action.STOP])
def test_a_running_version_that_its_signers_took_back_gives_way_to_the_one_before_it(
    rig: Rig, action: Action
) -> None:
    rig.confirm()
    rig.offer(None)
    rig.revoked, rig.action = True, action
    outcome = rig.look()
    assert (outcome.back, outcome.trial) == (rig.home.digests[0], "")
    assert "it loses notes" in rig.home.runtime.read().failed[rig.digest]
    rig.updater.reconcile()
    rig.assert_old_runs()
    assert rig.look() == Outcome(reason="none is left"), "it goes back once"


def test_a_warning_leaves_the_running_version_where_it_is(rig: Rig) -> None:
    rig.confirm()
    rig.offer(None)
    rig.revoked, rig.action = True, Action.WARN
    assert rig.look().back == ""
    assert rig.home.runtime.read().current == rig.digest


def test_what_the_signers_name_in_the_place_of_a_revoked_version_waits_for_no_pin_and_no_delay(
    rig: Rig,
) -> None:
    rig.confirm()
    rig.offer(0)  # the version before, released once more
    rig.revoked = True
    rig.allowed = Policy(pin="1", delay_s=2**40, deferred_until=2**40)
    assert rig.look().trial == rig.home.digests[0], "through check and trial as any"


def test_where_what_they_name_is_not_fit_the_version_before_takes_over(rig: Rig) -> None:
    rig.confirm()
    rig.revoked = True
    rig.home.runtime.edit(lambda state: states.reject(state, "c" * 64, "3", "unhealthy"))
    release = runtime_crash._choosing(rig.bundles[0], "3")().release
    bad = SimpleNamespace(release=replace(release, index_digest=b"\xcc" * 32), reason="", newest=release)
    rig.monkeypatch.setattr(updater, "newest", lambda *_, **__: bad)
    assert rig.look().back == rig.home.digests[0]


@pytest.mark.parametrize("trouble", [Full("No space."), DigestMismatch("Not the index."), NoPeers("None.")])
def test_where_what_they_name_cannot_be_had_the_version_before_takes_over(
    rig: Rig, trouble: PearrtError
) -> None:
    rig.confirm()
    rig.revoked = True
    release = replace(runtime_crash._choosing(rig.bundles[0], "3")().release, index_digest=b"\xcc" * 32)
    named = SimpleNamespace(release=release, reason="", newest=release)
    rig.monkeypatch.setattr(updater, "newest", lambda *_, **__: named)

    async def fails(*_: object, **__: object) -> None:
        raise trouble

    rig.monkeypatch.setattr(updater, "fetch", fails)
    assert rig.look().back == rig.home.digests[0]


def test_a_revoked_version_with_nothing_to_go_to_runs_on_and_says_so(rig: Rig) -> None:
    rig.confirm()
    rig.offer(None)
    rig.revoked, rig.revocable = True, set(rig.home.digests)
    outcome = rig.look()
    assert (outcome.back, outcome.trial) == ("", "")
    assert "it loses notes. There is no other version yet." in outcome.reason
    state = rig.home.runtime.read()
    assert (state.current, state.previous) == (rig.digest, "")


def test_a_version_before_that_was_revoked_is_none_to_go_back_to(rig: Rig) -> None:
    rig.confirm()
    rig.revoked, rig.revocable = True, {rig.home.digests[0]}
    rig.look()
    state = rig.home.runtime.read()
    assert (state.current, state.previous) == (rig.digest, "")
    assert "revoked" in state.failed[rig.home.digests[0]]
