"""The channel of a folder of one's own: served while the app runs, or the person is told why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pearrt.app.library import AppFolder
from pearrt.app.start import Start
from pearrt.daemon import own_folder
from pearrt.daemon.own_folder import OwnFolder
from pearrt.errors import SandboxError

KEY = bytes(32)


def test_where_no_channel_can_be_served_the_person_is_told_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 100)  # longer than the name of a socket may be
    deep.mkdir()
    monkeypatch.setattr(own_folder.tempfile, "tempdir", str(deep))
    with pytest.raises(SandboxError, match="too long"), OwnFolder(AppFolder(tmp_path, KEY), Start(KEY)):
        pass
    assert not list(deep.iterdir())
