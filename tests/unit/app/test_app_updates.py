"""What the person is told at the start after an update: once, in two lines, and nothing that is not so."""

from __future__ import annotations

from dataclasses import replace

from pearrt.app.news import MAX_SHOWN_NOTES, changes, gathered, lines
from pearrt.app.record import Installed, News, dump, load
from pearrt.bundle.index import File, Index
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.trust.release import Release

MANIFEST = Manifest("app", "1", Entry.parse("app:main"))


def installed(version: str) -> Installed:
    return Installed(version, 1, version * 4, [], "app", 0)


def release(**fields: object) -> Release:
    plain = Release("stable", "any", "app", "2", 2, bytes(32), 1, (), "Faster.", 0.0)
    return replace(plain, **fields)  # type: ignore[arg-type]


def index(**files: bytes) -> Index:
    return Index(
        MANIFEST,
        tuple(File(path, len(data), False, data.rjust(32)) for path, data in sorted(files.items())),
        "xz",
        (),
    )


def test_files_are_counted() -> None:
    old, new = index(a=b"1", b=b"1", c=b"1"), index(a=b"1", b=b"2", d=b"1", e=b"1")
    assert changes(old, new) == (1, 2, 1)
    assert changes(old, old) == (0, 0, 0)
    assert changes(None, new)[0] == -1


def test_one_update_is_told_in_two_lines() -> None:
    news = gathered(None, installed("1"), installed("2"), release(security=True), (1, 2, 0))
    assert lines(news, "app") == [
        "app was updated: 1 -> 2, a security release (files: 1 changed, 2 new)",
        "  Faster.",
    ]
    assert load(News, dump(news), "news") == news


def test_updates_between_two_starts_add_up() -> None:
    first = gathered(None, installed("1"), installed("2"), release(security=True), (1, 0, 0))
    both = gathered(first, installed("2"), installed("3"), release(notes="Calmer."), (-1, 0, 0))
    assert (both.old, both.new, both.security, both.notes) == ("1", "3", True, "Calmer.")
    assert lines(both, "app")[0] == "app was updated: 1 -> 3, a security release"


def test_a_release_that_nothing_more_is_known_of_is_told_without_notes() -> None:
    assert lines(gathered(None, installed("1"), installed("2"), None, (0, 0, 0)), "app") == [
        "app was updated: 1 -> 2 (no file changed)"
    ]


def test_long_notes_are_cut_and_stay_on_a_line() -> None:
    news = gathered(None, installed("1"), installed("2"), release(notes="word\n" * 800), (-1, 0, 0))
    [_, notes] = lines(news, "app")
    assert len(notes) <= MAX_SHOWN_NOTES + 2
    assert "\n" not in notes
