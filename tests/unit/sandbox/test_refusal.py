"""No run without a sandbox: where nothing contains, nothing is started, and nothing goes around it."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from pearrt.errors import Denied, Unsupported
from pearrt.sandbox import process, service
from pearrt.sandbox.policy import Permissions
from pearrt.sandbox.report import Layer, Report, Tier

FIX = "apt install bubblewrap"


def _launch(kind: str = "python", **permissions: bool) -> Any:
    manifest = SimpleNamespace(kind=kind, name="app", backend=None, permissions={})
    return SimpleNamespace(manifest=manifest, permissions=Permissions(**permissions))


def _never(*_: object, **__: object) -> NoReturn:
    raise AssertionError("something was started")


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "Sandbox", _never)
    monkeypatch.setattr(subprocess, "Popen", _never)
    for name in ("fork", "posix_spawn", "execve", "execv"):
        monkeypatch.setattr(os, name, _never)


def _machine(monkeypatch: pytest.MonkeyPatch, tier: Tier) -> None:
    report = Report(
        tier, (Layer("bubblewrap", tier.contains, "" if tier.contains else "not installed", FIX),)
    )
    monkeypatch.setattr(service, "probe", lambda runtime=None: report)


@pytest.mark.parametrize("tier", [tier for tier in Tier if not tier.contains])
def test_an_app_is_refused_where_nothing_contains_it(monkeypatch: pytest.MonkeyPatch, tier: Tier) -> None:
    _machine(monkeypatch, tier)
    with pytest.raises(Unsupported, match="not installed") as caught:
        service.run(_launch())
    assert caught.value.hint == FIX


def test_an_app_of_a_kind_without_a_sandbox_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Native programs where Landlock is missing; pages, which the browser contains, are not started."""
    _machine(monkeypatch, Tier.C)
    with pytest.raises(Unsupported, match="tier C"):
        service.run(_launch("exec", run_native=True))
    with pytest.raises(Unsupported, match="web"):
        service.run(_launch("web"))


def test_a_native_program_that_does_not_say_so_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(monkeypatch, Tier.A)
    with pytest.raises(Denied, match=r"run\.native"):
        service.run(_launch("exec"))


@pytest.mark.parametrize("tier", [tier for tier in Tier if tier.contains])
def test_nothing_runs_in_the_open_where_there_is_a_sandbox(
    monkeypatch: pytest.MonkeyPatch, tier: Tier
) -> None:
    _machine(monkeypatch, tier)
    with pytest.raises(Denied):
        service.run_unsandboxed(_launch())
