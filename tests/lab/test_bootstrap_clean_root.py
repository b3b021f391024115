"""A clean Debian with Python and bubblewrap, no registry, no package of pearrt: one file goes in, an app
comes out, everything from two seeding peers over a LAN of namespaces."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pearrt.link import HostPort, Link
from pearrt.paths import Home
from pearrt.publish.pyz import build, write_pyz
from tests.support.clean_root import CleanRoot
from tests.support.machine import Machine
from tests.support.namespaces import Lan
from tests.support.require import require, require_root, require_system_python
from tests.support.runtime_bundle import release_runtime
from tests.support.team import Team, write_app

pytestmark = [pytest.mark.lab, pytest.mark.e2e, pytest.mark.sandbox]

SAID = "hello from a clean root"


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    require("ip", "bwrap", "dpkg-query")
    require_root()
    require_system_python()
    with Lan(3) as lan:
        yield lan


@pytest.fixture
def seeders(lan: Lan, new_home: Callable[[], Home]) -> Iterator[list[Machine]]:
    machines = []
    for host in lan.hosts[:2]:
        settings = {"PEARRT_LISTEN": f"{lan.address(host)}:7677", "PEARRT_MDNS": "all"}
        first = "" if not machines else f"{lan.address(lan.hosts[0])}:7677"
        machines.append(Machine(new_home(), first, prefix=("ip", "netns", "exec", host), **settings))
        machines[-1].ok("daemon", "start")
    yield machines
    for machine in machines:
        machine.stop()


def received(host: str) -> int:
    """Bytes that have come in at the host's card."""
    path = "/sys/class/net/eth0/statistics/rx_bytes"
    return int(
        subprocess.run(["ip", "netns", "exec", host, "cat", path], capture_output=True, check=True).stdout
    )


def inside(
    root: CleanRoot, host: str, *command: str, home: str = "/root"
) -> subprocess.CompletedProcess[str]:
    """Runs a command in the root, on that host of the LAN, with nothing of this machine's environment."""
    environ = {"PATH": "/usr/bin:/bin", "HOME": home, "LC_ALL": "C.UTF-8", "PEARRT_BOOTSTRAP": "none"}
    return subprocess.run(
        [
            *("ip", "netns", "exec", host, "bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc"),
            *("--cap-add", "ALL", "--clearenv", "--bind", str(root.folder), "/", "--dev", "/dev"),
            *("--proc", "/proc", "--perms", "1777", "--tmpfs", "/tmp", "--chdir", "/root"),
            *(part for pair in environ.items() for part in ("--setenv", *pair)),
            *command,
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_one_file_in_an_app_out(lan: Lan, seeders: list[Machine], tmp_path: Path) -> None:
    root = CleanRoot(tmp_path / "root", "python3-minimal", "python3", "bubblewrap")
    fresh = lan.hosts[2]
    first, second = seeders
    (tmp_path / "work").mkdir()
    team = Team(first, tmp_path / "work")
    release_runtime(team, tmp_path, "1.0")
    runtime = Link.parse(team.link)
    (tmp_path / "work2").mkdir()
    publisher = Team(second, tmp_path / "work2", threshold=1)
    publisher.release(publisher.stage(write_app(tmp_path / "app", SAID, data=os.urandom(1 << 20))), "alice")
    nodes = [HostPort(lan.address(host), 7677) for host in lan.hosts[:2]]
    for machine, link, source in ((second, runtime, nodes[0]), (first, Link.parse(publisher.link), nodes[1])):
        machine.ok("seed", f"{link}?node={source}")
    write_pyz(root.folder / "root/pearrt-bootstrap.pyz", build(runtime=runtime, nodes=nodes))
    python = inside(root, fresh, "python3", "-c", "import sys; print(sys.version_info[:2], sys.path[-1])")
    assert python.returncode == 0, python.stderr
    assert "(3, 1" in python.stdout
    missing = inside(root, fresh, "python3", "-c", "import click")
    assert "No module named" in missing.stderr

    before, began = received(fresh), time.monotonic()
    done = inside(root, fresh, "python3", "pearrt-bootstrap.pyz", "run", "--yes", publisher.link, "there")
    took, got = time.monotonic() - began, received(fresh) - before
    assert (done.returncode, done.stdout) == (0, f"{SAID} there\n"), done.stderr
    sources = re.findall(r"from (\d+\.\d+\.\d+\.\d+):7677", done.stderr)
    assert sorted(sources) == [lan.address(host) for host in lan.hosts[:2]]
    installed = next(line for line in done.stderr.splitlines() if "installed in" in line)
    print(f"\nclean root, file in to app out: {took:.2f} s, {got} bytes over the wire; {installed}")

    # Another user of it, whose bootstrapper carries no node and asks no DHT: the LAN is enough.
    write_pyz(root.folder / "root/alone.pyz", build(runtime=runtime))
    alone = inside(root, fresh, "python3", "alone.pyz", "--no-dht", "install", home="/var/log")
    assert alone.returncode == 0, alone.stderr
    assert f"from {lan.address(lan.hosts[0])}:7677" in alone.stderr
