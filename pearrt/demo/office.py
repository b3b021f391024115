"""The demo's machines: each a daemon process of its own, with a home of its own, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pearrt.daemon.caller import Daemon
from pearrt.daemon.own_command import own_command
from pearrt.errors import PearrtError
from pearrt.link import HostPort, Link
from pearrt.paths import Home

STOP_TIMEOUT_S = 10.0


@dataclass(slots=True)
class Machine:
    """One machine of the story. `facts` is the newest `info` of the app there; `ran_after_s` when its app
    first spoke."""

    name: str
    folder: Path
    environ: dict[str, str]
    peer_id: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    state: str = ""
    ran_after_s: float | None = None
    said: str = ""
    alive: bool = False
    process: asyncio.subprocess.Process | None = None

    @property
    def home(self) -> Home:
        return Home.at(self.folder)

    @property
    def daemon(self) -> Daemon:
        return Daemon(self.home, environ=self.environ)

    async def start(self) -> None:
        """Starts the daemon and waits until it answers."""
        self.home.prepare()
        with self.home.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *own_command("pearrt.daemon"), env=self.environ, stdout=log, stderr=log
            )
        await asyncio.to_thread(self._wait)
        self.alive = True

    def _wait(self) -> None:
        deadline = time.monotonic() + 30
        while not self.daemon.running():
            if time.monotonic() > deadline or (self.process and self.process.returncode is not None):
                raise PearrtError(f"The daemon of {self.name} does not start.", hint=f"See {self.home.log}.")
            time.sleep(0.02)
        self.peer_id = self.daemon.status()["peer_id"]

    async def look(self, link: Link) -> None:
        """Refreshes `facts`; keeps the last ones when the machine does not answer or does not know the app
        yet."""
        if self.alive:
            with contextlib.suppress(PearrtError):
                self.facts = await asyncio.to_thread(self.daemon.info, link)

    async def run(self, link: Link, *, unsandboxed: bool) -> str:
        """Runs the app as its user would, in a process of its own; gives what it printed."""
        module = "pearrt.demo.uncontained" if unsandboxed else "pearrt"
        command = own_command(module, "run", "--yes", str(link))
        process = await asyncio.create_subprocess_exec(
            *command,
            env=self.environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        if process.returncode != 0:
            raise PearrtError(f"The app failed on {self.name}: {err.decode(errors='replace').strip()[-300:]}")
        return out.decode(errors="replace").strip()

    async def kill(self) -> None:
        """kill -9: no goodbye to anyone."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        self.alive = False

    async def stop(self) -> None:
        """SIGTERM, and kill -9 for one that does not listen."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self.process.wait()
        except TimeoutError:
            await self.kill()
        self.alive = False


def machine(name: str, root: Path, bootstrap: Sequence[HostPort]) -> Machine:
    """A machine whose daemon speaks to loopback only."""
    folder = root / name.replace(" ", "-")
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PEARRT_")}
    environ |= {
        "PEARRT_HOME": str(folder),
        "PEARRT_LISTEN": "127.0.0.1:0",
        "PEARRT_BOOTSTRAP": ",".join(map(str, bootstrap)),
        "PEARRT_MDNS": "off",
    }
    return Machine(name, folder, environ)
