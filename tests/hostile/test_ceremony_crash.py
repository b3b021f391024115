"""kill -9 at every step of a ceremony and its commit: old or new, never mixed, nothing lost."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="not applicable: needs fork")


@pytest.fixture
def memory() -> Iterator[Path]:
    """In memory where that exists: a kill loses nothing that the kernel has, and nobody waits for a disk."""
    shared = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as folder:
        yield Path(folder)


def survive(*arguments: str) -> int:
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.ceremony_crash", *arguments],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@needs_fork
def test_killed_at_every_system_call_of_a_ceremony_what_peers_see_is_old_or_new(memory: Path) -> None:
    """A release, a rotation of signers and heartbeat, and a new app."""
    assert survive(str(memory), "calls") >= 200


@needs_fork
def test_killed_at_two_hundred_random_moments_it_is_old_or_new(memory: Path) -> None:
    assert survive(str(memory), "moments") >= 200
