"""Fuzzes every target for its share of the time: `python -m tests.fuzz.run --minutes 10`, or `make fuzz`.

Coverage-guided by atheris (libFuzzer), one process at low priority. What reaches something new is merged into
`tests/fuzz/corpus/<target>/`, which `test_corpus.py` replays on every run of the tests. The first input that
a target does not survive is written to `tests/fuzz/found/` and ends the run with exit code 1.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
CORPUS, FOUND = HERE / "corpus", HERE / "found"
MAX_RSS_MB = 1024
INPUT_TIMEOUT_S = 10


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--minutes", type=float, default=10.0, help="in all, over all targets")
    options.add_argument("--target", help="one target instead of all")
    options.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.child:
        return _fuzz(arguments.child[0], arguments.child[1:])
    from tests.fuzz.targets import MAX_BYTES, TARGETS

    names = [arguments.target] if arguments.target else list(TARGETS)
    os.nice(19)
    failed = 0
    for name in names:
        began = time.monotonic()
        code, runs = _fuzz_target(name, arguments.minutes * 60 / len(names), MAX_BYTES)
        kept = len(list((CORPUS / name).iterdir()))
        verdict = "ok" if code == 0 else f"FAILED, see {FOUND}"
        took_s = time.monotonic() - began
        print(f"{name:<14} {took_s:7.0f} s  {runs:>9} runs  {kept:>4} kept  {verdict}", flush=True)
        failed |= code != 0
    return int(failed)


def _fuzz_target(name: str, seconds: float, max_bytes: int) -> tuple[int, int]:
    """Exit code of the fuzzer, number of inputs tried; the corpus grows by what reached something new."""
    seeds = CORPUS / name
    seeds.mkdir(parents=True, exist_ok=True)
    FOUND.mkdir(exist_ok=True)
    bounds = [f"-max_len={max_bytes}", f"-rss_limit_mb={MAX_RSS_MB}", f"-timeout={INPUT_TIMEOUT_S}"]
    with tempfile.TemporaryDirectory(prefix="pearrt-fuzz-") as folder:
        tried, child = Path(folder, "tried"), _program(Path(folder), name)
        tried.mkdir()
        done = subprocess.run(
            [child, str(tried), str(seeds), f"-max_total_time={max(1, int(seconds))}", *bounds,
             f"-artifact_prefix={FOUND}/{name}-", "-print_final_stats=1"],
            stderr=subprocess.PIPE, text=True, cwd=HERE.parents[1], check=False,
        )  # fmt: skip
        if done.returncode:
            sys.stderr.write(done.stderr[-4000:])
        merged = Path(folder, "merged")
        merged.mkdir()
        subprocess.run(
            [child, "-merge=1", str(merged), str(seeds), str(tried), *bounds],
            stderr=subprocess.DEVNULL, cwd=HERE.parents[1], check=False,
        )  # fmt: skip
        for path in merged.iterdir():
            data = path.read_bytes()
            shutil.copyfile(path, seeds / hashlib.sha256(data).hexdigest()[:16])
    stats = [line for line in done.stderr.splitlines() if line.startswith("stat::number_of_executed_units")]
    return done.returncode, int(stats[0].split()[-1]) if stats else 0


def _program(folder: Path, name: str) -> str:
    """One word that starts the fuzzer: it starts itself again where it merges."""
    path = folder / name
    words = shlex.join([sys.executable, "-m", "tests.fuzz.run", "--child", name])
    path.write_text(f'#!/bin/sh\nPEARRT_FUZZ_PROGRAM="$0" exec {words} "$@"\n')
    path.chmod(0o700)
    return str(path)


def _fuzz(name: str, arguments: list[str]) -> int:
    """In the child: the target with its imports instrumented."""
    import atheris

    with atheris.instrument_imports(include=["pearrt", "tests.fuzz.targets"]):
        from tests.fuzz.targets import TARGETS

    atheris.Setup([os.environ["PEARRT_FUZZ_PROGRAM"], *arguments], TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
