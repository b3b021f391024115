"""What the sandbox costs at start: from the launcher's call to the app's first line, beside a plain `python3
-I`.

    python benchmarks/sandbox_start.py [--rounds N] [--json]

Figures are milliseconds; the interpreter and the app (one `print`) are the same on both sides, bytecode is
warm, rounds alternate. Goal: the full profile adds at most 20 ms to the median.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pearrt.bundle.manifest import Entry, Manifest
from pearrt.sandbox import host, service
from pearrt.sandbox.policy import Permissions

GOAL_MS = 20.0
APP = "import time\nprint(time.monotonic_ns(), flush=True)\n"


def main() -> int:
    """Prints one table (or JSON); exit code 1 where the goal is missed."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=40)
    options.add_argument("--json", action="store_true")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="pearrt-bench-") as folder:
        result = measure(Path(folder), arguments.rounds)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:<28} {value}")
    return 0 if result["added_first_line_ms"] <= GOAL_MS else 1


def measure(folder: Path, rounds: int) -> dict[str, float | str]:
    app = folder / "app"
    app.mkdir(mode=0o755)
    (app / "main.py").write_text(APP)
    (app / "main.py").chmod(0o644)
    manifest = Manifest(name="bench", version="1", entry=Entry(file="main.py"))
    launch = service.Launch(bytes(32), manifest, app, folder / "data", Permissions())
    tier = service.probe(runtime=folder)
    plain = [host.inspect().interpreter, "-I", str(app / "main.py")]
    starts: dict[str, Callable[[], object]] = {
        "plain": lambda: subprocess.run(plain, check=True),
        "plain_no_site": lambda: subprocess.run([plain[0], "-S", *plain[1:]], check=True),
        "sandboxed": lambda: service.run(launch, runtime=folder),
    }
    first: dict[str, list[float]] = {name: [] for name in starts}
    whole: dict[str, list[float]] = {name: [] for name in starts}
    for round_number in range(rounds + 2):
        for name, start in starts.items():
            line_ms, whole_ms = _timed(start)
            if round_number >= 2:
                first[name].append(line_ms)
                whole[name].append(whole_ms)
    result: dict[str, float | str] = {"tier": str(tier.tier), "python": sys.version.split()[0]}
    for name in starts:
        result[f"{name}_first_line_ms"] = round(statistics.median(first[name]), 2)
        result[f"{name}_whole_ms"] = round(statistics.median(whole[name]), 2)
    for what in ("first_line_ms", "whole_ms"):
        result[f"added_{what}"] = round(
            float(result[f"sandboxed_{what}"]) - float(result[f"plain_{what}"]), 2
        )
    return result


def _timed(start: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds to the app's first line and to its end; the app prints the clock that all processes
    share.
    """
    reader, writer = os.pipe()
    kept = os.dup(1)
    os.dup2(writer, 1)
    began = time.monotonic_ns()
    try:
        start()
        ended = time.monotonic_ns()
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(writer)
    with os.fdopen(reader) as said:
        line = int(said.read())
    return (line - began) / 1e6, (ended - began) / 1e6


if __name__ == "__main__":
    raise SystemExit(main())
