"""The act in which pearrt updates itself: a machine that runs on pearrt's own release, an app on it, and the
next release, signed by three of the same five."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from pearrt import __version__
from pearrt.app.library import Library
from pearrt.app.progress import silent
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.demo.office import machine
from pearrt.demo.own_tree import own_tree
from pearrt.demo.publisher import Team, new_team
from pearrt.demo.screen import Screen
from pearrt.errors import PearrtError, PeerTimeout
from pearrt.link import HostPort
from pearrt.platform_tag import platform_tags
from pearrt.runtime import state as states
from pearrt.runtime.layout import RuntimeFolder, command

TRIAL_S = 2
TIMEOUT_S = 60.0
POLL_S = 0.05


class RuntimeAct:
    """A context manager, which ends what the act started. The app runs only where there is a sandbox."""

    def __init__(
        self, screen: Screen, team: Team, root: Path, bootstrap: Sequence[HostPort], *, unsandboxed: bool
    ) -> None:
        self.screen, self.team, self.root, self.unsandboxed = screen, team, root, unsandboxed
        self.machine = machine("own release", root, bootstrap)
        self.machine.environ["PEARRT_UPDATE_TRIAL_S"] = str(TRIAL_S)
        self.folder = RuntimeFolder(self.machine.home.data)
        self.app: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.app is not None and self.app.returncode is None:
            self.app.kill()
            await self.app.communicate()
        await self.machine.stop()  # the daemon that was started first, if it still runs
        with contextlib.suppress(PearrtError):
            await asyncio.to_thread(self._stop)

    async def play(self) -> None:
        first, second = f"{__version__}+demo1", f"{__version__}+demo2"
        runtime = await asyncio.to_thread(new_team, self.team.seeder, self.team.keys, self.team.public)
        await asyncio.to_thread(self._release, runtime, first)
        await self._install(runtime)
        said = await self._say("before the update")
        await asyncio.to_thread(self._release, runtime, second)
        published = time.monotonic()
        await self._until_it_runs(second)
        took = time.monotonic() - published
        self.screen.note(f"pearrt {first} became {second} in {took:.1f} s, and no human did anything:")
        self.screen.note(
            "fetched from peers, verified, examined, and handed over to while everything went on"
        )
        if said:
            self.screen.note(f"the app meanwhile: {said!r}, then {await self._say('after it')!r}")

    def _release(self, runtime: Team, version: str) -> None:
        tree = own_tree(self.root / f"pearrt-{version}", version)
        platform = platform_tags()[0]
        entry = Entry.parse("pearrt.cli.main:main")
        manifest = Manifest(name="pearrt", version=version, entry=entry, platform=platform)
        seeder = runtime.seeder
        record = seeder.daemon.stage(tree, manifest.encode(), silent, codec="zlib", level=1)
        runtime.publish(record["digest"])

    async def _install(self, runtime: Team) -> None:
        """What a bootstrapper does, and then a start."""
        await self.machine.start()
        await asyncio.to_thread(self.machine.daemon.install, runtime.link, silent)
        await self.machine.stop()
        installed = Library(self.machine.home.apps).folder(runtime.link.app_key).installed
        if installed is None:
            raise PearrtError("pearrt's own release was not installed.")
        self.folder.edit(
            lambda state: states.install(state, str(runtime.link), installed.index_digest, installed.version)
        )
        await self._command("daemon", "start")

    async def _command(self, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._line(*arguments), env=self.machine.environ, stdout=asyncio.subprocess.DEVNULL
        )
        if await process.wait() != 0:
            raise PearrtError("pearrt's own release does not start.", hint=f"See {self.machine.home.log}.")

    def _line(self, *arguments: str) -> list[str]:
        return command(self.machine.home.data, self.folder.read().runs, arguments)

    async def _say(self, guest: str) -> str:
        """What the app, which runs the whole time, answers to another guest; "" where it may not run."""
        if self.unsandboxed:
            return ""
        if self.app is None:
            self.app = await asyncio.create_subprocess_exec(
                *self._line("run", "--yes", str(self.team.link), "--stay"),
                env=self.machine.environ,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        assert self.app.stdin is not None
        assert self.app.stdout is not None
        self.app.stdin.write(f"{guest}\n".encode())
        async with asyncio.timeout(TIMEOUT_S):
            return (await self.app.stdout.readline()).decode(errors="replace").strip()

    async def _until_it_runs(self, version: str) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            state = await asyncio.to_thread(self.folder.read)
            if not state.trial and state.name(state.current) == version:
                return
            await asyncio.sleep(POLL_S)
        raise PeerTimeout(
            f"pearrt did not update itself to {version} in {TIMEOUT_S:.0f} s.",
            hint=f"{self.machine.home.log} tells more.",
        )

    def _stop(self) -> None:
        daemon = self.machine.daemon
        if daemon.running():
            daemon.stop()
        deadline = time.monotonic() + TIMEOUT_S
        while not daemon.ended() and time.monotonic() < deadline:
            time.sleep(POLL_S)
