"""What the tests that kill a process at any moment share."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 180


@pytest.fixture
def memory() -> Iterator[Path]:
    """In memory where that exists: a kill loses nothing that the kernel has, and nobody waits for a disk."""
    shared = "/dev/shm"
    folder = shared if os.access(shared, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def survive(memory: Path) -> Callable[..., list[int]]:
    """Runs a program of tests/support that forks, kills and checks, in `memory`; gives what it counted."""
    if not hasattr(os, "fork"):
        pytest.skip("not applicable: needs fork")

    def run(program: str, *arguments: str) -> list[int]:
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
        done = subprocess.run(
            [sys.executable, "-m", f"tests.support.{program}", str(memory), *arguments],
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [int(count) for count in done.stdout.split()]

    return run
