"""The demo, as who installed the package sees it: it plays to the end, quickly, and leaves nothing behind."""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox, pytest.mark.alone]


def test_the_demo_plays_to_the_end_and_leaves_nothing_behind(tmp_path: str) -> None:
    before = set(glob.glob("/tmp/pearrt-demo-*"))
    done = subprocess.run(
        [sys.executable, "-m", "pearrt", "demo", "--json"],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout)["result"]
    rows = {row["machine"]: row for row in figures["machines"]}
    assert len(rows) == 10
    assert figures["sandboxed"] is True
    assert figures["seconds"] < 60
    assert all(rows[f"office {number}"]["run_s"] is not None for number in range(1, 9))
    assert sum(rows[f"office {number}"]["from_others"] for number in range(1, 9)) > 0
    assert (rows["ninth"]["from_seeder"], rows["ninth"]["from_others"] > 0) == (0, True)
    assert set(glob.glob("/tmp/pearrt-demo-*")) == before
