"""Starting things: an installed app beside `python3 app.py`, `pearrt --help`, an idle daemon's memory.

    python benchmarks/start.py [--runs 20]

Each run counts from starting the process to the first line on its standard output; runs of both kinds
alternate.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machines import Machine, machine_line, machines, publish

from pearrt.app.progress import silent
from pearrt.bundle.manifest import Entry, Manifest

PEARRT = str(Path(sys.executable).with_name("pearrt"))
APP = 'def main():\n    print("hello", flush=True)\n\n\nif __name__ == "__main__":\n    main()\n'


def first_line(command: list[str], environ: dict[str, str]) -> float:
    """Milliseconds to the first line."""
    started = time.perf_counter()
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        taken = time.perf_counter() - started
        process.stdout.read()
        if process.wait() != 0 or not line:
            assert process.stderr is not None
            raise SystemExit(process.stderr.read().decode())
    return taken * 1000


def prepare(root: Path, machine: Machine) -> tuple[str, Path]:
    folder = root / "app"
    folder.mkdir()
    (folder / "app.py").write_text(APP)
    manifest = Manifest(name="hello", version="1", entry=Entry.parse("app:main"))
    link = publish(machine, machine.daemon.stage(folder, manifest.encode(), silent))
    subprocess.run(
        [PEARRT, "run", "--yes", str(link)], env=machine.environ, check=True, stdout=subprocess.DEVNULL
    )
    return str(link), folder / "app.py"


def measure(runs: int) -> dict[str, Any]:
    root = Path(tempfile.mkdtemp(prefix="prtb-", dir="/tmp"))
    try:
        with machines(root, "machine") as [machine]:
            link, app = prepare(root, machine)
            kinds = {
                "python3 app.py": [sys.executable, str(app)],
                "python3 -I app.py": [sys.executable, "-I", str(app)],
                "pearrt run": [PEARRT, "run", link],
                "pearrt --help": [PEARRT, "--help"],
            }
            taken: dict[str, list[float]] = {name: [] for name in kinds}
            for _ in range(runs):
                for name, command in kinds.items():
                    taken[name].append(first_line(command, machine.environ))
            time.sleep(2)
            found = {name: statistics.median(values) for name, values in taken.items()}
            return {
                "machine": machine_line(),
                "runs": runs,
                "median_ms": found,
                "overhead_ms": found["pearrt run"] - found["python3 app.py"],
                "daemon_mb": machine.memory(),
            }
    finally:
        shutil.rmtree(root, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Starting things, each beside plain Python.")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    report = measure(args.runs)
    if args.json:
        print(json.dumps(report, indent=1))
        return
    print(report["machine"])
    for name, milliseconds in report["median_ms"].items():
        print(f"{name:<20} {milliseconds:6.0f} ms, median of {report['runs']}")
    print(f"overhead of pearrt run over python3 app.py: {report['overhead_ms']:.0f} ms")
    print(f"the daemon, idle: {report['daemon_mb']['VmRSS']:.0f} MB resident")


if __name__ == "__main__":
    main()
