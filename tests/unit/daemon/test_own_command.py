"""Another part of pearrt is started as this one was."""

from __future__ import annotations

import sys

import pytest

from pearrt.daemon.own_command import own_command

START = "/usr/lib/pearrt/pearrt/runtime/start.py"


@pytest.mark.parametrize(
    ("started_as", "prefix"),
    [
        (["python3", "/usr/local/bin/pearrt", "run", "x"], ["-m"]),
        (["python3", "-m", "pearrt", "run", START], ["-m"]),
        (["python3", "-I", "-S", START, "pearrt", "run"], ["-I", "-S", START]),
        (
            ["python3", "-I", "-X", "pycache_prefix=/x", START, "pearrt"],
            ["-I", "-X", "pycache_prefix=/x", START],
        ),
        (["python3", "-m", "pytest", "-X", START], ["-m"]),
    ],
)
def test_the_way_it_was_started(
    started_as: list[str], prefix: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "orig_argv", started_as)
    assert own_command("pearrt.daemon", "a") == [sys.executable, *prefix, "pearrt.daemon", "a"]
