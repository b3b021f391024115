"""One seeder to one peer over loopback, whole clients, beside libtorrent and nginx + curl in the same run.

    python benchmarks/transfer.py file [--mib 512] [--runs 3]      one incompressible file
    python benchmarks/transfer.py tree FOLDER [--runs 3]           an app tree of many files

`pearrt` counts from the request at the peer's local API until every block is verified and in its store
(file), or until the app is unpacked, verified, durable and ready to run (tree). libtorrent counts from adding
the torrent until all pieces are verified in its files, nginx + curl until the bytes are in a file, in the
clear and unverified.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from machines import machine_line, machines, publish, settle

from pearrt.app.progress import silent
from pearrt.bundle.manifest import Entry, Manifest

HERE = Path(__file__).parent


def tree_bytes(folder: Path) -> tuple[int, int]:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return sum(sizes), len(sizes)


def ours(root: Path, content: Path, runs: int, *, install: bool) -> dict[str, Any]:
    """Seconds of each run; memory of both daemons at most."""
    with machines(root / "seeder", "d") as [seeder]:
        manifest = Manifest(name="bench", version="1", entry=Entry.parse("main:main"))
        staged = seeder.daemon.stage(content, manifest.encode(), silent)
        link = replace(publish(seeder, staged), nodes=(seeder.address(),))
        seeder.stop()
        seeder.start()  # memory of seeding, without that of staging
        link = replace(link, nodes=(seeder.address(),))
        seconds, memory = [], []
        for run in range(runs):
            settle()
            with machines(root / f"peer{run}", "d") as [peer]:
                started = time.perf_counter()
                if install:
                    peer.daemon.install(link, silent)
                else:
                    peer.daemon.seed(link, silent)
                seconds.append(time.perf_counter() - started)
                memory.append(peer.memory())
            shutil.rmtree(root / f"peer{run}")
        return {"seconds": seconds, "peer_mb": memory, "seeder_mb": seeder.memory(), "staged": staged}


def torrent(root: Path, content: Path, runs: int) -> dict[str, Any]:
    file, port = root / "content.torrent", 21000 + os.getpid() % 9000
    command = [sys.executable, str(HERE / "torrent.py")]
    subprocess.run([*command, "make", str(content), str(file), "0"], check=True)
    seeder = subprocess.Popen(
        [*command, "seed", str(content.parent), str(file), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert seeder.stdout is not None
        seeder.stdout.readline()
        found = []
        for run in range(runs):
            settle()
            target = root / f"torrent{run}"
            target.mkdir()
            done = subprocess.run(
                [*command, "fetch", str(target), str(file), str(port)],
                check=True,
                capture_output=True,
                text=True,
                timeout=300,
            )
            found.append(json.loads(done.stdout))
            shutil.rmtree(target)
        status = Path(f"/proc/{seeder.pid}/status").read_text()
        peak = next(int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmHWM"))
        return {"seconds": [each["seconds"] for each in found], "peer_mb": found, "seeder_mb": peak}
    finally:
        seeder.communicate()


@contextmanager
def nginx(root: Path, folder: Path) -> Iterator[int]:
    port = 31000 + os.getpid() % 9000
    config = root / "nginx.conf"
    config.write_text(
        f"daemon off; worker_processes 1; pid {root}/nginx.pid; error_log {root}/error.log;\n"
        "events { worker_connections 64; }\n"
        "http { access_log off; sendfile on; tcp_nopush on; "
        f"server {{ listen 127.0.0.1:{port}; root {folder}; }} }}\n"
    )
    server = subprocess.Popen(["nginx", "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield port
    finally:
        server.terminate()
        server.wait()


def curl(root: Path, content: Path, runs: int) -> dict[str, Any]:
    os.chmod(root, 0o755)
    seconds = []
    with nginx(root, content.parent) as port:
        for _ in range(runs):
            settle()
            target = root / "curl.bin"
            started = time.perf_counter()
            subprocess.run(
                ["curl", "-sS", "-o", str(target), f"http://127.0.0.1:{port}/{content.name}"], check=True
            )
            seconds.append(time.perf_counter() - started)
            target.unlink()
    return {"seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(
        description="One seeder, one peer, beside libtorrent and nginx + curl."
    )
    parser.add_argument("kind", choices=["file", "tree"])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="prtb-", dir="/tmp"))
    try:
        report = measure(args, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(json.dumps(report, indent=1) if args.json else table(report))


def measure(args: argparse.Namespace, root: Path) -> dict[str, Any]:
    report: dict[str, Any] = {"machine": machine_line(), "kind": args.kind}
    if args.kind == "file":
        content = root / "content"
        content.mkdir()
        with (content / "data.bin").open("wb") as file:
            for _ in range(args.mib):
                file.write(os.urandom(1 << 20))
        (content / "main.py").write_text("def main():\n    pass\n")
    else:
        content = root / "content"
        shutil.copytree(args.folder, content)
    size, files = tree_bytes(content)
    report |= {"bytes": size, "files": files}
    report["pearrt"] = ours(root, content, args.runs, install=args.kind == "tree")
    if args.kind == "file":
        report["pearrt, installed"] = ours(root / "again", content, args.runs, install=True)
        report["nginx + curl"] = curl(root, content / "data.bin", args.runs)
    report["libtorrent"] = torrent(root, content, args.runs)
    return report


def table(report: dict[str, Any]) -> str:
    total = f"{report['bytes'] / 1e6:.0f} MB in {report['files']} files"
    lines = [report["machine"], f"{report['kind']}: {total}", ""]
    names = [name for name in report if isinstance(report[name], dict)]
    best = report["bytes"] / 1e6 / statistics.median(report["pearrt"]["seconds"])
    for name in names:
        seconds = report[name]["seconds"]
        median = statistics.median(seconds)
        rate = report["bytes"] / 1e6 / median
        runs = ", ".join(f"{each:.2f}" for each in seconds)
        ratio = f"pearrt is {best / rate:.2f} x"
        lines.append(f"{name:<20} {rate:7.0f} MB/s   median {median:.2f} s ({runs})   {ratio}")
    for name in names:
        if "seeder_mb" in report[name]:
            seeder, peer = report[name]["seeder_mb"], report[name]["peer_mb"][0]
            lines.append(f"memory of {name}: seeder {seeder}, peer {peer}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
