"""An update that changes the app's kind waits for a yes like one that asks for more."""

from __future__ import annotations

from pathlib import Path

import pytest

from pearrt.app import granting
from pearrt.app.library import Library
from pearrt.bundle.manifest import KINDS, Entry, Manifest

FILES = {"python": "main.py", "web": "index.html", "wasi": "main.wasm", "exec": "main"}


def manifest(kind: str) -> Manifest:
    asked = {"ui": True, "run.native": True}
    return Manifest("app", "1", Entry(file=FILES[kind]), kind=kind, permissions=asked)


@pytest.mark.parametrize("kind", KINDS)
def test_an_approval_covers_one_kind(kind: str, tmp_path: Path) -> None:
    folder = Library(tmp_path).folder(bytes(32))
    folder.root.mkdir(parents=True, exist_ok=True)
    granting.approve(folder, manifest(kind), ())
    assert [other for other in KINDS if granting.covers(folder, manifest(other))] == [kind]
