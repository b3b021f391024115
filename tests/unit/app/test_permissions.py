"""The approval: of one request by its digest, less what was refused, and never of more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pearrt.app import granting
from pearrt.app.library import AppFolder
from pearrt.app.record import Grant
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.errors import Corrupt, Denied, UserError
from pearrt.sandbox import policy
from pearrt.sandbox.policy import Permissions

ASKED = {
    "notify": True,
    "clipboard": True,
    "p2p": ["store"],
    "net.hosts": ["example.com:443", "example.org:80"],
    "memory": "1 GiB",
}


def manifest(permissions: Mapping[str, Any]) -> Manifest:
    return Manifest("app", "1", Entry.parse("app:main"), permissions=permissions)


@pytest.fixture
def folder(tmp_path: Path) -> AppFolder:
    folder = AppFolder(tmp_path, bytes(32))
    folder.create()
    return folder


def test_without_an_approval_nothing_is_given(folder: AppFolder) -> None:
    assert granting.given(folder) == Permissions()
    assert not granting.covers(folder, manifest({}))
    assert granting.refused(folder) == ()
    with pytest.raises(Denied):
        granting.take_back(folder, ["notify"])


def test_an_approval_covers_the_same_and_less_and_never_more(folder: AppFolder) -> None:
    granting.approve(folder, manifest(ASKED), ())
    for narrower in (ASKED, {}, {"notify": True}, {"net.hosts": ["example.org:80"]}, {"memory": "512 MiB"}):
        assert granting.covers(folder, manifest(narrower | {"memory": "1 GiB"}))
    for wider in ({"ui": True}, {"net.hosts": ["example.net:443"]}, {"memory": "3 GiB"}, {"p2p": ["join"]}):
        assert not granting.covers(folder, manifest(ASKED | wider))


def test_an_approval_lapses_when_permissions_change_their_meaning(
    folder: AppFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    granting.approve(folder, manifest(ASKED), ())
    monkeypatch.setattr(policy, "DIGEST_TAG", b"pearrt-permissions-v99\0")
    assert not granting.covers(folder, manifest(ASKED))
    assert granting.given(folder) == Permissions()


def test_an_approval_whose_table_was_changed_on_disk_is_none(folder: AppFolder) -> None:
    granting.approve(folder, manifest({"notify": True}), ())
    grant = folder.grant
    assert grant is not None
    folder.grant = replace(grant, permissions=ASKED)
    assert granting.given(folder) == Permissions()
    folder.grant = Grant(dict(ASKED), 5)  # of a version that kept no digest
    assert not granting.covers(folder, manifest(ASKED))
    (folder.root / "grant.json").write_text('{"permissions": {}}')
    with pytest.raises(Corrupt):
        granting.given(folder)


def test_what_was_refused_is_not_given_and_does_not_ask_again(folder: AppFolder) -> None:
    granting.approve(folder, manifest(ASKED), ["notify", "example.com:443"])
    assert granting.covers(folder, manifest(ASKED))
    assert granting.given(folder).optional() == ["example.org:80", "p2p", "clipboard"]
    assert granting.refused(folder) == ("example.com:443", "notify")
    with pytest.raises(UserError, match="does not ask"):
        granting.approve(folder, manifest(ASKED), ["ui"])


def test_single_permissions_are_taken_back_and_then_the_whole(folder: AppFolder) -> None:
    granting.approve(folder, manifest(ASKED), ["clipboard"])
    assert granting.take_back(folder, ["net.hosts"]) == ["example.com:443", "example.org:80"]
    assert granting.take_back(folder, ["net.hosts"]) == []
    assert granting.covers(folder, manifest(ASKED))
    with pytest.raises(UserError):
        granting.take_back(folder, ["example.net:443"])
    assert granting.take_back(folder, []) == ["p2p", "notify"]
    assert not granting.covers(folder, manifest(ASKED))


def test_a_no_to_a_wider_release_is_remembered_for_just_that_request(folder: AppFolder) -> None:
    wider = manifest(ASKED | {"ui": True})
    granting.decline(folder, Permissions.parse(wider.permissions).digest())
    assert not granting.declined(folder, wider)  # nothing is approved, so it is asked for all the same
    granting.approve(folder, manifest(ASKED), ())
    granting.decline(folder, Permissions.parse(wider.permissions).digest())
    assert granting.declined(folder, wider)
    assert not granting.declined(folder, manifest(ASKED | {"ui": True, "background": True}))
    assert granting.covers(folder, manifest(ASKED))


def test_the_overview_says_what_is_given_and_what_refused(folder: AppFolder) -> None:
    before = granting.overview(folder, manifest(ASKED))
    assert before["approved"] is False
    assert set(before["permissions"].values()) == {"not approved"}
    granting.approve(folder, manifest(ASKED), ["example.com:443"])
    after = granting.overview(folder, manifest(ASKED))
    assert after["approved"] is True
    assert after["permissions"] == {
        "example.com:443": "refused",
        "example.org:80": "given",
        "notify": "given",
        "clipboard": "given",
        "p2p": "given",
    }
