"""What an app's own terminal costs: its start, and its output, beside a program that has the person's.

    python benchmarks/terminal.py [--rounds N] [--json]

A reader at the other end of a pseudo-terminal throws away what comes. Figures are medians: milliseconds from
the launcher's call to the app's first line, with pipes and with a terminal; MB/s of 50 MB of short lines (as
of `yes | head -c 50M`) on the way through one terminal (direct) and through two (relayed), and the launcher's
processor seconds for them.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import resource
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

BYTES = 50_000_000
APP = f"""
import os, sys, time
if sys.argv[1:] == ["first"]:
    os.write(2, b"%d\\n" % time.monotonic_ns())
else:
    piece = b"y\\n" * 4096
    for _ in range({BYTES} // len(piece)):
        view = memoryview(piece)
        while view:
            view = view[os.write(1, view):]
"""


def main() -> int:
    """Prints one table (or JSON)."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--json", action="store_true")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="pearrt-bench-") as folder:
        result = measure(Path(folder), arguments.rounds)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:<28} {value}")
    return 0


class Screen:
    """Takes the place of descriptors 0 and 1 while it is open; another process throws away what comes."""

    def __enter__(self) -> Screen:
        ours, theirs = pty.openpty()
        quiet = subprocess.DEVNULL
        self.reader = subprocess.Popen(["cat"], stdin=ours, stdout=quiet, stderr=quiet)
        os.close(ours)
        self.kept = [os.dup(fd) for fd in (0, 1)]
        for fd in (0, 1):
            os.dup2(theirs, fd)
        os.close(theirs)
        return self

    def __exit__(self, *_: object) -> None:
        for fd, kept in enumerate(self.kept):
            os.dup2(kept, fd)
            os.close(kept)
        self.reader.wait()


def measure(folder: Path, rounds: int) -> dict[str, float]:
    app = folder / "app"
    app.mkdir(mode=0o755)
    (app / "main.py").write_text(APP)
    (app / "main.py").chmod(0o644)
    manifest = Manifest(name="bench", version="1", entry=Entry(file="main.py"))
    service.probe(runtime=folder)

    def run(argument: str) -> None:
        launch = service.Launch(bytes(32), manifest, app, folder / "data", Permissions(), argv=(argument,))
        assert service.run(launch, runtime=folder) == 0

    def plain(argument: str) -> None:
        subprocess.run([host.inspect().interpreter, "-I", "-S", str(app / "main.py"), argument], check=True)

    starts: dict[str, list[float]] = {"pipes": [], "terminal": []}
    for _ in range(rounds):
        starts["pipes"].append(_first_line_ms(run, folder / "said"))
        with Screen():
            starts["terminal"].append(_first_line_ms(run, folder / "said"))
    result = {f"{name}_first_line_ms": round(statistics.median(took), 2) for name, took in starts.items()}
    for name, start in (("direct", plain), ("relayed", run)):
        speeds, processor = [], []
        for _ in range(max(3, rounds // 7)):
            with Screen():
                began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
                start("flood")
                speeds.append(BYTES / 1e6 / (time.monotonic() - began))
                now = resource.getrusage(resource.RUSAGE_SELF)
            processor.append(now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime)
        result |= {f"{name}_mb_per_s": round(statistics.median(speeds), 1)}
        result |= {f"{name}_launcher_cpu_s": round(statistics.median(processor), 2)}
    return result


def _first_line_ms(run: Callable[[str], None], path: Path) -> float:
    """The app says on standard error, a file, what the clock is that all processes share."""
    kept = os.dup(2)
    with path.open("w+b", buffering=0) as said:
        os.dup2(said.fileno(), 2)
        began = time.monotonic_ns()
        try:
            run("first")
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        said.seek(0)
        return (int(said.read()) - began) / 1e6


if __name__ == "__main__":
    sys.exit(main())
