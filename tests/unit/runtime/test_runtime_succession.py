"""What the daemon before makes of the next one's end, while that is on trial."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pearrt.daemon import succession
from pearrt.daemon.successor import Successor
from pearrt.errors import Unreachable
from pearrt.link import Link
from pearrt.runtime import state as states
from pearrt.runtime.layout import RuntimeFolder
from pearrt.runtime.state import RuntimeState

A, B = "a" * 64, "b" * 64


class Old:
    """A daemon with nothing to pass on."""

    async def nothing(self) -> None:
        return

    quiet = let_go = drain = nothing

    async def pass_on(self) -> list[Any]:
        return []


class New(Successor):
    """A next daemon that takes over and ends before it is confirmed."""

    def __init__(self, code: int) -> None:
        super().__init__(SimpleNamespace(pid=1, poll=lambda: code, wait=lambda _: code, kill=int), None)  # type: ignore[arg-type]

    async def take_over(self, items: list[Any]) -> None:
        return

    async def confirmed(self, timeout_s: float) -> None:
        raise Unreachable("The other daemon has gone.")

    async def kill(self) -> None:
        return


async def hand_over(folder: RuntimeFolder, monkeypatch: pytest.MonkeyPatch, code: int) -> list[str]:
    """Which versions were started."""
    started = []

    async def spawn(data: Path, digest: str, environ: object) -> New:
        started.append(digest)
        return New(code)

    folder.edit(lambda _: states.install(RuntimeState(), str(Link(b"r" * 32)), A, "1.0"))
    folder.edit(lambda state: states.begin(state, B, "1.1"))
    monkeypatch.setattr(succession.Successor, "spawn", spawn)
    assert await succession.succeed(Old(), folder, B, trial_s=0)
    return started


async def test_one_that_falls_over_has_failed_and_the_version_before_it_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RuntimeFolder(tmp_path)
    assert await hand_over(folder, monkeypatch, 1) == [B, A]
    assert "exit code 1" in folder.read().failed[B]


async def test_one_that_the_person_stops_has_not_failed_and_nothing_is_started_against_their_will(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RuntimeFolder(tmp_path)
    assert await hand_over(folder, monkeypatch, 0) == [B]
    assert folder.read().trial == B
