"""`pearrt info` for people: a line for what there is to say, and none else."""

from __future__ import annotations

from typing import Any

import pytest

from pearrt.cli.info import _text

INFO: dict[str, Any] = {
    "link": "pearrt://k", "name": "app", "signers": ["ann", "bob"], "signed_by": ["ann"], "threshold": 1,
    "witnesses": None, "newest": "2.0", "sequence": 2, "version": "1.0", "previous": None, "pending": None,
    "freshness": "fresh", "confirmed_at": 0, "confirmed_by": 0, "newer_at": None, "in_dht": False,
    "equivocation": False, "contradiction": "", "held_back": "", "keeps": {"data": 0, "shelf": 0},
    "places": {}, "running": 0, "seeding": False, "bytes_in": 0, "bytes_out": 0, "permissions": [],
    "peers": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"held_back": "app 2.0 needs pearrt 9."}, "held back  app 2.0 needs pearrt 9."),
        ({"places": {"data": "/home/ann/a/data"}}, "files      /home/ann/a/data"),
        ({"places": {"log": "/home/ann/a/app.log"}}, "log        /home/ann/a/app.log"),
        ({"permissions": ["keep up to 1 GiB"]}, "may"),
    ],
)
def test_a_line_is_there_where_there_is_something_to_say(changes: dict[str, Any], line: str) -> None:
    word = line.partition("  ")[0]
    assert not [each for each in _text(INFO).splitlines() if each.startswith(word)]
    assert line in _text(INFO | changes).splitlines()
