"""A misuse of an app's keys is said wherever a person looks at the app."""

from __future__ import annotations

from pathlib import Path

from pearrt.app.launch import Launchable
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.cli import list as list_command
from pearrt.cli.run import _question


def launchable(**fields: object) -> Launchable:
    known: dict[str, object] = {
        "key_text": "y" * 55,
        "version": "1.0",
        "folder": Path("/"),
        "data": Path("/"),
        "bytecode": Path("/"),
        "manifest": Manifest(name="thing", version="1.0", entry=Entry(module="thing")),
        "granted": False,
        "signers": ("ada",),
        "signed_by": ("ada",),
        "threshold": 1,
        "freshness": "fresh",
        "confirmed_at": 0,
        "channel_socket": Path("/"),
        "channel_token": b"",
    }
    return Launchable(**(known | fields))  # type: ignore[arg-type]


def test_the_question_before_the_first_run_warns() -> None:
    text = _question(launchable(contradiction="two different targets\x1b[2J were signed"))
    assert "WARNING: its keys were misused: two different targets" in text
    assert "\x1b[2J" not in text
    assert "WARNING" not in _question(launchable())


def test_it_outlives_the_way_from_the_daemon() -> None:
    app = launchable(contradiction="x", confirmed_by=4, newer_at=7)
    again = Launchable.from_dict(app.as_dict())
    assert (again.contradiction, again.confirmed_by, again.newer_at) == ("x", 4, 7)


def test_the_list_warns() -> None:
    fields = {
        "name": "thing",
        "version": "1.0",
        "freshness": "fresh",
        "confirmed_at": 0,
        "confirmed_by": 0,
        "link": "pearrt://y",
        "running": 0,
        "seeding": False,
        "contradiction": "",
    }
    assert "WARNING" in list_command._line(fields | {"contradiction": "x"})
    assert "WARNING" not in list_command._line(fields)
