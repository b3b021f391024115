"""What Windows does to files that are read and replaced at once: refuses, for a moment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pearrt import atomic
from pearrt.errors import StoreError


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of refusals still to come, of each replacement."""
    left, real = [3], os.replace

    def replace(*arguments: Any) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise PermissionError(13, "sharing violation")
        real(*arguments)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(atomic, "_PAUSES_S", (0.0,) * 5)
    return left


def test_a_file_that_is_being_read_is_replaced_a_moment_later(
    refusing: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "name", "nt")
        _write(path)
    assert path.read_bytes() == b"new"
    assert refusing == [0]


def test_elsewhere_a_refusal_is_one(refusing: list[int], tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        atomic.write_file(tmp_path / "x", b"new")
    assert refusing == [2]


def _write(path: Path) -> None:
    atomic.write_file(path, b"new")
