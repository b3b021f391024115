"""What the benchmarks share: pearrt daemons in processes of their own on loopback, and what processes
cost."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pearrt.app.drafting import Terms, draft_release
from pearrt.crypto import keyfile
from pearrt.crypto.keyfile import Argon2Cost
from pearrt.daemon.caller import Daemon
from pearrt.link import HostPort, Link
from pearrt.paths import Home
from pearrt.publish.app import APP_ID_BYTES, new_app
from pearrt.publish.draft import sign
from pearrt.publish.publication import Publication, new_heartbeat

PASSWORD = "benchmark password"


class Machine:
    """A daemon with a home of its own; no DHT, no multicast: peers are named."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.home = Home.at(folder)
        self.environ = {key: value for key, value in os.environ.items() if not key.startswith("PEARRT_")}
        self.environ |= {
            "PEARRT_HOME": str(folder),
            "PEARRT_LISTEN": "127.0.0.1:0",
            "PEARRT_MDNS": "off",
            "PEARRT_DHT": "0",
            **settings,
        }
        self.daemon = Daemon(self.home, environ=self.environ)
        self.pid = 0

    def start(self) -> None:
        self.pid = int(self.daemon.status()["pid"])

    def address(self) -> HostPort:
        return HostPort(*self.daemon.status()["address"])

    def stop(self) -> None:
        if self.daemon.running():
            self.daemon.stop()
            while not self.daemon.ended():
                time.sleep(0.02)

    def memory(self) -> dict[str, float]:
        """Resident MB of the daemon, now and at most, without pages of files."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = dict(re.findall(r"(VmHWM|VmRSS|RssAnon):\s+(\d+) kB", status))
        return {name: int(kib) / 1000 for name, kib in found.items()}


@contextmanager
def machines(root: Path, *names: str, **settings: str) -> Iterator[list[Machine]]:
    """Started daemons under `root`, stopped at the end."""
    made = [Machine(root / name, **settings) for name in names]
    try:
        for machine in made:
            machine.start()
        yield made
    finally:
        for machine in made:
            machine.stop()


def publish(machine: Machine, staged: dict[str, object]) -> Link:
    """A 1-of-1 app whose first release is what was staged."""
    public = keyfile.create(machine.home.data / "solo.key", PASSWORD, "solo", cost=Argon2Cost(1, 8 << 20))
    seed = keyfile.unlock(machine.home.data / "solo.key", PASSWORD)
    heartbeat, now = new_heartbeat(), time.time()
    app = new_app(
        [public],
        1,
        heartbeat=heartbeat.public,
        app_id=secrets.token_bytes(APP_ID_BYTES),
        now=now,
    )
    made = Publication.create(
        machine.home.publishing, app, [sign(app.root, seed)], [sign(app.targets, seed)], heartbeat, now
    )
    draft = draft_release(made.trusted, machine.home, [str(staged["digest"])], Terms(), now)
    made.commit(draft, [sign(draft, seed)], now)
    link = Link(app.app_key)
    machine.daemon.publish(link)
    return link


def machine_line() -> str:
    """What this was measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "?")
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {cpu}, Python {sys.version.split()[0]}, load {load:.1f} at the start"


def warm_up(mib: int = 2048) -> None:
    """Makes runs alike: what the run before wrote goes to disk first, and free memory is touched once.

    A virtual machine gets the memory that it has not used for a while from its host anew, page by page; who
    happens to be handed such pages would pay for it, several times what writing them costs.
    """
    subprocess.run(["sync"], check=False)
    page = 4096
    touched = bytearray(mib << 20)
    touched[::page] = b"x" * len(range(0, len(touched), page))
    del touched
    time.sleep(0.2)
