"""The probe says what holds, why not, and what to do; a bad machine is never taken for a good one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from pearrt.errors import Unsupported
from pearrt.sandbox import examine, host, layout, probe, service, shim
from pearrt.sandbox.report import REQUIRED, Layer, Report, Tier, decide
from tests.support.require import require


def layers(*names: str) -> tuple[Layer, ...]:
    return tuple(Layer(name, True) for name in names)


def test_the_tier_follows_from_the_layers() -> None:
    assert decide(layers(*REQUIRED, "landlock", "cgroup")) is Tier.A
    assert decide(layers(*REQUIRED, "landlock")) is Tier.B
    assert decide(layers(*REQUIRED)) is Tier.C
    assert decide(layers(*REQUIRED, "cgroup")) is Tier.C


@pytest.mark.parametrize("number", range(len(REQUIRED)))
def test_without_every_required_layer_nothing_is_run(number: int) -> None:
    for some in combinations(REQUIRED, number):
        tier = decide(layers(*some, "landlock", "cgroup"))
        assert tier is Tier.E
        assert not tier.contains
    assert not Tier.D.contains


def test_a_report_survives_the_cache_and_prints_its_fixes() -> None:
    report = Report(Tier.E, (Layer("bubblewrap", False, "not installed", "apt install bubblewrap"),))
    assert Report.from_dict(json.loads(json.dumps(report.as_dict()))) == report
    assert "apt install bubblewrap" in report.describe()
    assert report.held == frozenset()


Bubblewrap = Callable[[str], None]


@pytest.fixture
def bubblewrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bubblewrap:
    """Puts a script in bubblewrap's place."""

    def put(script: str) -> None:
        path = tmp_path / "bwrap"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        changed = replace(host.inspect(), bubblewrap=str(path))
        for module in (host, examine.hosts, probe.hosts):
            monkeypatch.setattr(module, "inspect", lambda: changed)

    return put


def test_a_bubblewrap_that_may_make_no_namespaces_is_tier_e_with_its_words(bubblewrap: Bubblewrap) -> None:
    bubblewrap("echo 'bwrap: No permissions to create new namespace' >&2; exit 1")
    report = examine.examine()
    assert report.tier is Tier.E
    namespaces = next(layer for layer in report.layers if layer.name == "namespaces")
    assert namespaces.detail == "bwrap: No permissions to create new namespace"
    assert namespaces.fix
    assert service.refusal(report).hint == namespaces.fix


def test_a_bubblewrap_that_contains_nothing_is_found_out(bubblewrap: Bubblewrap) -> None:
    """It starts the command as it is: the shim's own test must refuse."""
    bubblewrap('while [ "$1" != -- ]; do shift; done; shift; exec "$@"')
    assert examine.examine().tier is Tier.E


def test_a_missing_bubblewrap_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = replace(host.inspect(), bubblewrap=None)
    monkeypatch.setattr(examine.hosts, "inspect", lambda: changed)
    report = examine.examine()
    assert report.tier is Tier.E
    assert "apt install bubblewrap" in service.refusal(report).hint


def test_an_unknown_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = replace(host.inspect(), machine="riscv64")
    monkeypatch.setattr(examine.hosts, "inspect", lambda: changed)
    assert examine.examine().tier is Tier.E


@pytest.mark.sandbox
def test_a_kernel_without_landlock_is_tier_c(monkeypatch: pytest.MonkeyPatch) -> None:
    require("bwrap")
    monkeypatch.setattr(shim, "landlock_abi", lambda: 0)
    report = examine.examine()
    assert report.tier is Tier.C
    landlock = next(layer for layer in report.layers if layer.name == "landlock")
    assert not landlock.ok
    assert "landlock" in landlock.fix


@pytest.mark.sandbox
def test_this_machine_is_examined_once_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("bwrap")
    first = service.probe(runtime=tmp_path)
    assert first.tier.contains
    assert {layer.name for layer in first.layers} >= {*REQUIRED, "landlock", "cgroup"}
    with monkeypatch.context() as patched:
        patched.setattr(examine, "examine", lambda: pytest.fail("examined again"))
        assert service.probe(runtime=tmp_path) == first
    (tmp_path / "sandbox.json").write_text("{")
    assert service.probe(runtime=tmp_path) == first


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"stamp": [], "report": {}}', "\x00", '{"report": 1, "stamp": 2}']
)
def test_a_damaged_cache_is_not_believed(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sandbox.json").write_text(text)
    refused = Report(Tier.E, ())
    monkeypatch.setattr(examine, "examine", lambda: refused)
    assert service.probe(runtime=tmp_path) is refused


def test_a_refusal_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What mends the machine must take effect at once."""
    monkeypatch.setattr(examine, "examine", lambda: Report(Tier.E, ()))
    service.probe(runtime=tmp_path)
    assert not (tmp_path / "sandbox.json").exists()


def test_each_app_has_a_stable_uid_of_its_own_when_root_starts_it() -> None:
    keys = [bytes([n]) * 32 for n in range(200)]
    who = [layout.identity_of(key, as_root=True) for key in keys]
    assert who == [layout.identity_of(key, as_root=True) for key in keys]
    assert len({item.outside_uid for item in who}) == len(keys)
    assert all(0x70000000 <= item.outside_uid < 0x78000000 for item in who)


def test_in_a_container_the_uid_is_one_that_exists_there() -> None:
    for number in range(200):
        uid = layout.identity_of(bytes([number]) * 32, as_root=True, uids=65536).outside_uid
        assert 1000 < uid < 65534
    with pytest.raises(Unsupported):
        layout.identity_of(bytes(32), as_root=True, uids=1)


def test_a_user_is_hidden_behind_one_uid() -> None:
    assert layout.identity_of(os.urandom(32), as_root=False) == layout.Identity(1000, 0)
