"""kill -9 at every write of the store, and while unpacking: what is left is old or new, never mixed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def memory() -> Iterator[Path]:
    """In memory where that exists: a kill loses nothing that the kernel has, and nobody waits for a disk."""
    shared = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as folder:
        yield Path(folder)


def survive(program: str, *arguments: str) -> int:
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
    done = subprocess.run(
        [sys.executable, "-m", f"tests.support.{program}", *arguments],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="not applicable: needs fork")
def test_killed_at_every_system_call_the_store_is_old_or_new(memory: Path) -> None:
    assert survive("store_crash", str(memory), "calls") >= 60


@pytest.mark.skipif(not hasattr(os, "fork"), reason="not applicable: needs fork")
def test_killed_at_forty_random_moments_the_store_is_old_or_new(memory: Path) -> None:
    assert survive("store_crash", str(memory), "moments") >= 30


@pytest.mark.skipif(not hasattr(os, "fork"), reason="not applicable: needs fork")
def test_killed_while_unpacking_the_tree_is_whole_or_absent(memory: Path) -> None:
    assert survive("unpack_crash", str(memory)) >= 20
