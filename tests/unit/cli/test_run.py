"""The question before an app runs: who signed it, what it may do, and what of that is new."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click
import pytest

from pearrt.bundle.manifest import Entry, Manifest
from pearrt.cli.output import Output
from pearrt.cli.progress import ProgressBar
from pearrt.cli.run import _approve, _question
from pearrt.errors import Denied
from tests.unit.cli.test_log_warning import launchable


class Terminal:
    """A terminal, whatever stands for one in a test."""

    @staticmethod
    def isatty() -> bool:
        return True


def test_nobody_is_asked_about_what_they_are_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal())
    output, bar = Output(as_json=True), ProgressBar(shown=False)
    with pytest.raises(Denied, match="--json asks nothing"):
        _approve(output, launchable(), bar, yes=False, gives=())
    assert _approve(output, launchable(), bar, yes=True, gives=()) == ()
    assert capsys.readouterr() == ("", "")


def manifest(kind: str = "python", **permissions: Any) -> Manifest:
    entry = Entry(file="index.html") if kind == "web" else Entry(module="app")
    return Manifest("app", "2", entry, kind=kind, permissions=permissions)


def asked(before: Manifest, after: Manifest) -> str:
    waiting = replace(launchable(), manifest=before, pending_version="2", pending_manifest=after).pending
    assert waiting is not None
    return click.unstyle(_question(waiting))


def test_what_an_update_asks_for_anew_is_marked_and_the_rest_is_not() -> None:
    text = asked(manifest(notify=True), manifest(notify=True, clipboard=True))
    assert "asks for more than you approved" in text
    assert "+ put text on your clipboard" in text
    assert "- show notifications" in text


def test_an_update_that_becomes_another_kind_of_app_says_so() -> None:
    text = asked(manifest("web", ui=True), manifest(ui=True))
    assert "it was of kind web, now python" in text
    assert "of kind" not in asked(manifest(ui=True), manifest(ui=True, notify=True))


def test_signers_and_threshold_are_named() -> None:
    app = replace(launchable(), signers=("alice", "bob", "carol"), signed_by=("alice", "carol"), threshold=2)
    assert "signed by alice, carol; it takes 2 of 3" in click.unstyle(_question(app))
