"""The doctor's hostile app: it bites outside, gets nothing inside, and what gets through is never hidden."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pearrt.cli.doctor import CONTAINED
from pearrt.sandbox import challenge as challenges
from pearrt.sandbox import hostile, service
from pearrt.sandbox.report import REQUIRED, Layer, Report, Tier
from tests.support.require import require

HELD = Report(Tier.A, tuple(Layer(name, True) for name in (*REQUIRED, "landlock", "cgroup")))


@pytest.mark.sandbox
def test_nothing_gets_through_on_this_machine(tmp_path: Path) -> None:
    require("bwrap")
    report = service.examined(runtime=tmp_path)
    last = report.layers[-1]
    assert (last.name, last.ok) == ("self-test", True), report.describe()
    assert report.tier.contains


@pytest.mark.sandbox
@pytest.mark.parametrize("tier", [Tier.B, Tier.C])
def test_nothing_gets_through_with_fewer_layers(tier: Tier) -> None:
    require("bwrap")
    gone = {"cgroup"} | ({"landlock"} if tier is Tier.C else set())
    held = tuple(layer for layer in HELD.layers if layer.name not in gone)
    assert challenges.challenge(Report(tier, held)).tier is tier


class Open:
    """In the sandbox's place: starts the app as a plain process."""

    def __init__(self, launch: Any, layers: Any, task: Any, *, output: int, timeout_s: float) -> None:
        self.command = [sys.executable, str(launch.folder / "main.py"), *launch.argv]
        self.output = output

    def run(self) -> int:
        return subprocess.run(self.command, stdout=self.output, check=False, close_fds=False).returncode


def test_without_a_sandbox_the_challenge_is_lost_and_the_tier_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(challenges, "Sandbox", Open)
    report = challenges.challenge(HELD)
    assert report.tier is Tier.E
    layer = report.layers[-1]
    assert not layer.ok
    assert layer.fix
    for name in ("read a file of the person's", "connect by TCP", "connect to an abstract socket"):
        assert name in layer.detail
    assert str(report.tier) not in CONTAINED


class Silent(Open):
    """Says nothing, or less than all."""

    said = b""

    def run(self) -> int:
        os.write(self.output, self.said)
        return 0


@pytest.mark.parametrize("said", [b"", b"refused read a file\n" * 3, b"\xff\n"])
def test_a_hostile_app_that_says_too_little_is_no_proof(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(challenges, "Sandbox", Silent)
    monkeypatch.setattr(Silent, "said", said)
    assert challenges.challenge(HELD).tier is Tier.E


def test_a_machine_that_contains_nothing_is_not_challenged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(challenges, "Sandbox", None)
    refused = Report(Tier.E, ())
    assert challenges.challenge(refused) is refused


def test_outside_most_attempts_work(tmp_path: Path) -> None:
    """So that refusals inside mean something."""
    secret = tmp_path / "secret"
    secret.write_text("token")
    targets = {
        "secret": str(secret),
        "token": "token",
        "launcher": os.getpid(),
        "socket": "/x",
        "port": 1,
        "app": "/x",
    }
    done = subprocess.run(
        [sys.executable, hostile.__file__, json.dumps(targets)], capture_output=True, text=True, check=True
    )
    assert "open read a file of the person's" in done.stdout
    assert "open signal the launcher" in done.stdout
    assert "refused connect by TCP" in done.stdout  # nobody listens there
