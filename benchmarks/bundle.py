"""Staging and unpacking a real tree, beside tar and cp; and the store's put.

    python benchmarks/bundle.py [--tree DIR] [--rounds 3] [--directory DIR] [--levels 9,17]

The tree is the standard library that runs this, unless --tree names another. Each line is the best of
`--rounds` rounds: seconds, MB/s of the unpacked tree (10^6 bytes), and the CPU seconds spent, which a busy
machine disturbs less. Everything is written to a memory file system where there is one: disks are measured
elsewhere. Nothing waits for a disk (`sync=False`), as tar and cp do not either.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pearrt.bundle.manifest import Manifest
from pearrt.bundle.stage import Staged, stage_tree
from pearrt.bundle.unpack import unpack
from pearrt.bundle.verify import verify_tree
from pearrt.crypto.hashes import sha256
from pearrt.publish.stage import from_folder
from pearrt.store.service import Store

PUT_BLOCKS = 2048
PUT_BYTES = 256 * 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tree", type=Path, default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--directory", type=Path, default="/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    )
    parser.add_argument("--levels", default="9")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as work:
        measure(options.tree, Path(work), options.rounds, [int(level) for level in options.levels.split(",")])


def measure(tree: Path, work: Path, rounds: int, levels: list[int]) -> None:
    shutil.copytree(
        tree, work / "tree", symlinks=False, ignore=shutil.ignore_patterns("__pycache__", "site-packages")
    )
    with from_folder(work / "tree", name="tree", version="1", entry="json.tool") as prepared:
        staged = [stage(prepared.folder, prepared.manifest, work, level, rounds) for level in levels][-1]
        source = prepared.folder
        total = staged.tree_bytes
        with Store(work / "store", read_only=True) as store:
            out = work / "out"
            show("unpack", total, rounds, lambda: unpack(staged.index, store.get, out, sync=False), out)
            unpack(staged.index, store.get, out, sync=False)
            show("verify_tree", total, rounds, lambda: verify_tree(staged.index, out))
            shutil.rmtree(out)
        show("cp -r", total, rounds, lambda: run("cp", "-r", source, out), out)
        if shutil.which("zstd") and shutil.which("tar"):
            archive = work / "tree.tar.zst"
            run("tar", "-C", source, "-I", f"zstd -q -{levels[-1]} -T0", "-cf", archive, ".")
            print(f"{'':24}tar.zst -{levels[-1]}: {archive.stat().st_size / 1e6:.1f} MB")
            out.mkdir()
            show(
                "tar --zstd -x",
                total,
                rounds,
                lambda: (out.mkdir(exist_ok=True), run("tar", "-C", out, "--zstd", "-xf", archive)),
                out,
            )
    put(work, rounds)


def stage(tree: Path, manifest: Manifest, work: Path, level: int, rounds: int) -> Staged:
    made: list[Staged] = []

    def once() -> None:
        shutil.rmtree(work / "store", ignore_errors=True)
        with Store(work / "store") as store:
            made.append(stage_tree(tree, manifest, store.put, level=level))

    once()
    show(f"stage -{level}", made[-1].tree_bytes, max(1, rounds - 1), once)
    files, frames = len(made[-1].index.files), len(made[-1].index.frames)
    size, stored = made[-1].tree_bytes / 1e6, made[-1].stored_bytes / 1e6
    print(f"{'':24}{files} files, {size:.1f} MB, in {frames} frames, {stored:.1f} MB")
    return made[-1]


def put(work: Path, rounds: int) -> None:
    pieces = [os.urandom(PUT_BYTES) for _ in range(PUT_BLOCKS)]
    ids = [sha256(piece) for piece in pieces]

    def once() -> None:
        with Store(work / "put") as store:
            for block_id, piece in zip(ids, pieces, strict=True):
                store.put(block_id, piece)

    show("store.put, one thread", PUT_BLOCKS * PUT_BYTES, rounds, once, work / "put")


def show(what: str, size: int, rounds: int, work: Callable[[], object], leftover: Path | None = None) -> None:
    best, cpu = float("inf"), float("inf")
    for _ in range(rounds):
        if leftover is not None:
            shutil.rmtree(leftover, ignore_errors=True)
        before, started = os.times(), time.perf_counter()
        work()
        took, after = time.perf_counter() - started, os.times()
        best, cpu = min(best, took), min(cpu, sum(after[:4]) - sum(before[:4]))
    if leftover is not None:
        shutil.rmtree(leftover, ignore_errors=True)
    print(f"{what:24}{best:7.2f} s {size / best / 1e6:7.0f} MB/s {cpu:7.2f} CPU s", flush=True)


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
