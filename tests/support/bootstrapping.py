"""A network to bootstrap from: a private DHT, two machines that seed a runtime release and an app, and fresh
machines with nothing but a bootstrapper."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pearrt.link import HostPort, Link
from pearrt.paths import Home
from pearrt.publish.pyz import build, write_pyz
from tests.support.machine import Machine
from tests.support.network import TestnetThread
from tests.support.runtime_bundle import runtime_tree, stage_runtime
from tests.support.team import Team, write_app

VERSION = "1.0"
SAID = "hello from an app that came by peers"
TIMEOUT_S = 120


class Network:
    """A context manager. `runtime` and `app` are links; both machines seed both."""

    def __init__(self, codec: str = "zlib", level: int | None = 1) -> None:
        self._packing: dict[str, Any] = {"codec": codec, "level": level}
        self._stack = contextlib.ExitStack()
        self._made = 0

    def __enter__(self) -> Self:
        folder = tempfile.mkdtemp(prefix="prt", dir="/tmp" if os.path.isdir("/tmp") else None)
        self.folder = Path(folder)
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            self._fill()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _fill(self) -> None:
        self.net = self._stack.enter_context(TestnetThread(6))
        self.first, self.second = self.machine(), self.machine()
        self.team = Team(self.first, self._work("runtime"))
        tree = runtime_tree(self.folder / "runtime", version=VERSION)
        self.digest = stage_runtime(self.first, tree, version=VERSION, **self._packing)
        self.team.release(self.digest, version=VERSION)
        self.runtime = Link.parse(self.team.link)
        publisher = Team(self.second, self._work("app"), threshold=1)
        publisher.release(publisher.stage(write_app(self.folder / "hello", SAID)), "alice")
        self.app = Link.parse(publisher.link)
        self.seed(self.second, self.runtime, self.first)
        self.seed(self.first, self.app, self.second)

    def _work(self, name: str) -> Path:
        folder = self.folder / f"work-{name}"
        folder.mkdir()
        return folder

    def seed(self, machine: Machine, link: Link, source: Machine) -> None:
        machine.ok("seed", f"{link}?node={self.address(source)}")

    def machine(self, **settings: str) -> Machine:
        """Another machine of the private DHT; stopped at the end."""
        machine = Machine(self.home(), self.net.bootstrap, **settings)
        self._stack.callback(machine.stop)
        return machine

    def home(self) -> Home:
        self._made += 1
        home = Home.at(self.folder / str(self._made))
        home.prepare()
        return home

    def address(self, machine: Machine) -> str:
        return "{}:{}".format(*machine.daemon.status()["address"])

    @property
    def nodes(self) -> list[HostPort]:
        """First nodes to build into a bootstrapper."""
        return [HostPort.parse(text) for text in self.net.bootstrap.split(",")]

    def pyz(self, name: str = "pearrt-bootstrap.pyz", *, nodes: Sequence[HostPort] | None = None) -> Path:
        path = self.folder / name
        write_pyz(path, build(runtime=self.runtime, nodes=self.nodes if nodes is None else nodes))
        return path

    def fresh(self, pyz: Path, **settings: str) -> Fresh:
        """A machine with nothing but this bootstrapper; what it starts is stopped at the end."""
        fresh = Fresh(self.home(), pyz, settings)
        self._stack.callback(fresh.stop)
        return fresh


@dataclass
class Fresh:
    """A home with nothing in it, and a bootstrapper."""

    home: Home
    pyz: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        return {
            **os.environ,
            "PEARRT_HOME": str(self.home.data),
            "PEARRT_LISTEN": "127.0.0.1:0",
            "PEARRT_MDNS": "off",
            "PEARRT_BOOTSTRAP": "none",
            **self.settings,
        }

    def command(self, *args: str | Path) -> list[str]:
        return [sys.executable, "-I", str(self.pyz), *map(str, args)]

    def start(self, *args: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*args), env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __call__(self, *args: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*args),
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def ok(self, *args: str | Path) -> str:
        """Its stdout; it must end with 0."""
        done = self(*args)
        assert done.returncode == 0, f"{args} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def stop(self) -> None:
        if (self.home.data / "run" / "api.sock").exists():
            Machine(self.home).stop()
