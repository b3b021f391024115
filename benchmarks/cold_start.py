"""Cold start: a machine with nothing but Python, to the first line of an app; beside pip.

    python benchmarks/cold_start.py [--runs 3] [--app black==24.8.0]

pearrt: the bootstrapper, one file, finds two seeding peers over loopback, installs the runtime and runs the
app by its link. pip: a fresh virtual environment, `pip install` of the same app out of a folder of wheels,
then the app. Both count from starting the first process to the first line on standard output; runs alternate,
each in a new home. The runtime is the one that tests use, packed as a real one is (xz). Wheels are fetched
once, with pip.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from machines import machine_line

from pearrt.link import Link
from tests.support.bootstrapping import Network
from tests.support.team import Team


def first_line(command: list[str], environ: dict[str, str], began: float) -> float:
    """Seconds from `began` to the first line; the process is waited for."""
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        taken = time.perf_counter() - began
        _, said = process.communicate()
        if process.returncode != 0 or not line:
            raise SystemExit(said.decode())
    return taken


def fetch_wheels(app: str, folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "-q", "--only-binary", ":all:", "-d", str(folder), app]
    subprocess.run(pip, check=True)


def offline(wheels: Path) -> dict[str, str]:
    """What makes pip take wheels from the folder alone."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}


def publish(network: Network, app: str, wheels: Path) -> Link:
    """The app, published by a third machine that is gone when the clock starts; two peers seed it."""
    publisher = network.machine(**offline(wheels))
    work = network.folder / "publisher"
    work.mkdir()
    team = Team(publisher, work, threshold=1)
    digest = publisher.ok("stage", "--pypi", app)["digest"]
    team.release(digest, "alice")
    link = Link.parse(team.link)
    network.seed(network.first, link, publisher)
    network.seed(network.second, link, network.first)
    publisher.stop()
    return link


def by_pip(app: str, wheels: Path, folder: Path) -> float:
    name = app.partition("==")[0]
    environ = {**os.environ, **offline(wheels), "PIP_NO_CACHE_DIR": "1"}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", app]
    subprocess.run(pip, env=environ, check=True)
    return first_line([str(folder / "bin" / name), "--version"], environ, began)


def measure(app: str, runs: int) -> dict[str, Any]:
    taken: dict[str, list[float]] = {"bootstrapper": [], "runtime there": [], "pip": []}
    with Network("xz", None) as network:
        wheels = network.folder / "wheels"
        fetch_wheels(app, wheels)
        link = publish(network, app, wheels)
        pyz = network.pyz()
        for number in range(runs):
            fresh = network.fresh(pyz)
            command = fresh.command("run", "--yes", str(link), "--version")
            taken["bootstrapper"].append(first_line(command, fresh.environ, time.perf_counter()))
            fresh.ok("uninstall", "--yes", str(link))
            fresh.ok("gc")
            taken["runtime there"].append(first_line(command, fresh.environ, time.perf_counter()))
            fresh.stop()
            folder = network.folder / f"venv{number}"
            taken["pip"].append(by_pip(app, wheels, folder))
            shutil.rmtree(folder)
        size = pyz.stat().st_size
    median = {name: statistics.median(values) for name, values in taken.items()}
    return {
        "machine": machine_line(),
        "app": app,
        "runs": runs,
        "seconds": median,
        "all_seconds": taken,
        "bootstrapper_bytes": size,
        "ratio": median["pip"] / median["bootstrapper"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="From nothing but Python to the first line of an app.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--app", default="black==24.8.0")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    report = measure(args.app, args.runs)
    if args.json:
        print(json.dumps(report, indent=1))
        return
    print(report["machine"])
    for name, seconds in report["seconds"].items():
        print(f"{name:<14} {seconds:6.2f} s, median of {report['runs']}")
    print(
        f"pip takes {report['ratio']:.2f} x as long; the bootstrapper is {report['bootstrapper_bytes']} bytes"
    )


if __name__ == "__main__":
    main()
