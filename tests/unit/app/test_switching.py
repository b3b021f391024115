"""Which release takes over, and which is not taken at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pearrt.app import granting
from pearrt.app.followed import FollowedApp
from pearrt.app.library import AppFolder
from pearrt.app.record import Installed
from pearrt.app.switching import may_switch
from pearrt.bundle.index import Index
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.errors import Unsupported
from pearrt.link import Link

KEY = bytes(32)


def release(permissions: dict[str, Any]) -> Index:
    return Index(Manifest("app", "2.0", Entry(module="app"), permissions=permissions), (), "zstd", ())


@pytest.fixture(params=["new here", "installed"])
def app(tmp_path: Path, request: pytest.FixtureRequest) -> FollowedApp:
    app = FollowedApp(Link(KEY), AppFolder(tmp_path, KEY))
    app.folder.create()
    if request.param == "installed":
        app.folder.switch(Installed("1.0", 1, "ab" * 32, [], "app", 0))
        granting.approve(app.folder, release({"notify": True}).manifest, ())
    return app


def test_a_release_that_asks_for_something_unknown_is_not_taken(app: FollowedApp) -> None:
    for unknown in ({"camera": True}, {"notify": "always"}, {"net.hosts": ["localhost:80"]}):
        with pytest.raises(Unsupported, match=r"app 2\.0 .* does not know") as refused:
            may_switch(app, release(unknown))
        assert "pearrt update" in refused.value.hint


def test_a_narrower_release_takes_over_and_a_wider_one_waits(app: FollowedApp) -> None:
    new_here = app.folder.installed is None
    assert may_switch(app, release({}))
    assert may_switch(app, release({"notify": True}))
    assert may_switch(app, release({"notify": True, "clipboard": True})) is new_here
