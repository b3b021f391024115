"""One seeder to one peer over loopback, whole clients, beside libtorrent and nginx + curl in the same run.

    python benchmarks/transfer.py file [--mib 512] [--runs 3]      one incompressible file
    python benchmarks/transfer.py tree FOLDER [--runs 3]           an app tree of many files

Beside them stands the floor: the same cipher, hash and files with nothing around them (floor.py).

`pearrt` counts from the request at the peer's local API until every block is verified and in its store
(file), or until the app is unpacked, verified, durable and ready to run (tree). libtorrent
counts from adding
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
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from machines import machine_line, machines, publish, warm_up

from pearrt.app.progress import silent
from pearrt.bundle.manifest import Entry, Manifest

HERE = Path(__file__).parent


def tree_bytes(folder: Path) -> tuple[int, int]:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return sum(sizes), len(sizes)


class Ours:
    """A seeding daemon; each round a fresh daemon fetches, or fetches and installs, what it seeds."""

    def __init__(self, root: Path, content: Path, cleanup: ExitStack) -> None:
        self.root = root
        [self.seeder] = cleanup.enter_context(machines(root / "seeder", "d"))
        manifest = Manifest(name="bench", version="1", entry=Entry.parse("main:main"))
        staged = self.seeder.daemon.stage(content, manifest.encode(), silent)
        self.link = publish(self.seeder, staged)
        self.seeder.stop()
        self.seeder.start()  # its memory is that of seeding, not of staging
        self.link = replace(self.link, nodes=(self.seeder.address(),))
        self.rounds = 0

    def fetch(self, *, install: bool) -> dict[str, Any]:
        self.rounds += 1
        with machines(self.root / f"peer{self.rounds}", "d") as [peer]:
            warm_up()
            started = time.perf_counter()
            if install:
                peer.daemon.install(self.link, silent)
            else:
                peer.daemon.seed(self.link, silent)
            seconds = time.perf_counter() - started
            return {"seconds": seconds, "peer_mb": peer.memory(), "seeder_mb": self.seeder.memory()}


class Torrent:
    """A seeding libtorrent process; each round another process fetches from it."""

    def __init__(self, root: Path, content: Path, cleanup: ExitStack, *, version: int) -> None:
        self.root = root
        self.version = version
        self.file, self.port = root / f"content{version}.torrent", 21000 + version + os.getpid() % 9000
        self.command = [sys.executable, str(HERE / "torrent.py")]
        subprocess.run([*self.command, "make", str(content), str(self.file), str(version)], check=True)
        self.seeder = subprocess.Popen(
            [*self.command, "seed", str(content.parent), str(self.file), str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        cleanup.callback(self.seeder.communicate)
        assert self.seeder.stdout is not None
        self.seeder.stdout.readline()
        self.rounds = 0

    def fetch(self) -> dict[str, Any]:
        self.rounds += 1
        target = self.root / f"torrent{self.version}-{self.rounds}"
        target.mkdir()
        warm_up()
        done = subprocess.run(
            [*self.command, "fetch", str(target), str(self.file), str(self.port)],
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        )
        status = Path(f"/proc/{self.seeder.pid}/status").read_text()
        peak = next(int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmHWM"))
        found: dict[str, Any] = json.loads(done.stdout)
        return {"seconds": found["seconds"], "peer_mb": found["mb"], "seeder_mb": peak}


class Curl:
    """nginx serves the file, each round curl fetches it, in the clear."""

    def __init__(self, root: Path, file: Path, cleanup: ExitStack) -> None:
        root.chmod(0o755)
        self.root, self.file, self.port = root, file, 31000 + os.getpid() % 9000
        config = root / "nginx.conf"
        config.write_text(
            f"daemon off; worker_processes 1; pid {root}/nginx.pid; error_log {root}/error.log;\n"
            "events { worker_connections 64; }\n"
            "http { access_log off; sendfile on; tcp_nopush on; "
            f"server {{ listen 127.0.0.1:{self.port}; root {file.parent}; }} }}\n"
        )
        server = subprocess.Popen(["nginx", "-c", str(config)], stderr=subprocess.DEVNULL)
        cleanup.callback(server.wait)
        cleanup.callback(server.terminate)
        time.sleep(0.5)
        self.rounds = 0

    def fetch(self) -> dict[str, Any]:
        self.rounds += 1
        target = self.root / f"curl{self.rounds}.bin"
        warm_up()
        started = time.perf_counter()
        url = f"http://127.0.0.1:{self.port}/{self.file.name}"
        subprocess.run(["curl", "-sS", "-o", str(target), url], check=True)
        return {"seconds": time.perf_counter() - started}


class Floor:
    """Each round the bare loop of floor.py."""

    def __init__(self, root: Path, file: Path) -> None:
        self.root, self.file, self.rounds = root, file, 0

    def fetch(self) -> dict[str, Any]:
        self.rounds += 1
        target = self.root / f"floor{self.rounds}"
        warm_up()
        command = [sys.executable, str(HERE / "floor.py"), str(self.file), str(target)]
        found: dict[str, Any] = json.loads(subprocess.check_output(command))
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description="One seeder, one peer, beside libtorrent and nginx + curl.")
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
    content = root / "content"
    if args.kind == "file":
        content.mkdir()
        with (content / "data.bin").open("wb") as file:
            for _ in range(args.mib):
                file.write(os.urandom(1 << 20))
        (content / "main.py").write_text("def main():\n    pass\n")
    else:
        shutil.copytree(args.folder, content)
    size, files = tree_bytes(content)
    report |= {"bytes": size, "files": files}
    with ExitStack() as cleanup:
        pearrt = Ours(root, content, cleanup)
        first, second = (Torrent(root, content, cleanup, version=version) for version in (1, 2))
        kinds: dict[str, Callable[[], dict[str, Any]]] = {
            "pearrt": lambda: pearrt.fetch(install=args.kind == "tree")
        }
        if args.kind == "file":
            kinds["pearrt, installed"] = lambda: pearrt.fetch(install=True)
            curl = Curl(root, content / "data.bin", cleanup)
            kinds["nginx + curl"] = curl.fetch
            kinds["the floor"] = Floor(root, content / "data.bin").fetch
        kinds["libtorrent, v1"] = first.fetch
        kinds["libtorrent, v2"] = second.fetch
        rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in kinds}
        for _ in range(args.runs):
            for name, fetch in kinds.items():
                rounds[name].append(fetch())
    for name, found in rounds.items():
        report[name] = found[-1] | {"seconds": [each["seconds"] for each in found]}
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
            seeder, peer = report[name]["seeder_mb"], report[name]["peer_mb"]
            lines.append(f"memory of {name}: seeder {seeder}, peer {peer}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
