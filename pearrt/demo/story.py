"""`pearrt demo`: the whole line on one machine, with everything real but the distance.

A private DHT of 20 nodes, five signers, a seeder and eight office machines, each a daemon process of its own
on loopback. Version 1 is published and run by key everywhere; version 2 spreads; pearrt updates itself; the
seeder is killed; a ninth machine still gets the app. All state lies in one temporary folder, which is removed
however the demo ends.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from pearrt.demo.office import Machine, machine
from pearrt.demo.publisher import PICTURES_BYTES, SIGNERS, THRESHOLD, Team, example, found
from pearrt.demo.runtime_act import RuntimeAct
from pearrt.demo.screen import Screen
from pearrt.demo.uncontained import ONLY_APP
from pearrt.errors import PeerTimeout, ThresholdNotMet
from pearrt.link import HostPort
from pearrt.sandbox.report import Tier
from pearrt.sandbox.service import probe
from pearrt.testing import Testnet

NODES = 20
OFFICE = 8
LOOK_INTERVAL_S = 0.4
SPREAD_TIMEOUT_S = 60.0


async def tell(screen: Screen) -> dict[str, Any]:
    """Plays all acts; gives the figures of the summary. Raises what the product raises."""
    started = time.monotonic()
    root = _temporary()
    try:
        async with AsyncExitStack() as cleanup:
            net = await cleanup.enter_async_context(Testnet(NODES))
            demo = _Demo(screen, root, net.bootstrap, cleanup)
            figures = await demo.play()
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return figures | {"seconds": round(time.monotonic() - started, 1)}


def _temporary() -> Path:
    """A short path, as Unix sockets want it."""
    short = "/tmp" if os.path.isdir("/tmp") else None  # noqa: S108
    return Path(tempfile.mkdtemp(prefix="pearrt-demo-", dir=short))


class _Demo:
    """The acts, in order; each leaves the machines as the next one finds them."""

    def __init__(
        self, screen: Screen, root: Path, bootstrap: list[HostPort], cleanup: AsyncExitStack
    ) -> None:
        self.screen = screen
        self.root = root
        self.bootstrap = bootstrap
        self.cleanup = cleanup
        self.unsandboxed = probe().tier is Tier.E
        self.machines: list[Machine] = []
        self.team: Team

    async def play(self) -> dict[str, Any]:
        if self.unsandboxed:
            self.screen.warn_unsandboxed(probe())
        seeder = await self.publish()
        office = await self.run_in_office()
        await self.update(office)
        await self.update_runtime()
        await self.lose_seeder(seeder)
        return self.figures()

    async def add(self, name: str) -> Machine:
        made = machine(name, self.root, self.bootstrap)
        self.cleanup.push_async_callback(made.stop)
        self.machines.append(made)
        await made.start()
        made.state = "started"
        return made

    async def publish(self) -> Machine:
        self.screen.act(
            f"A private DHT of {NODES} nodes. Five signers; any {THRESHOLD} of them make a release."
        )
        seeder = await self.add("seeder")
        self.team = await asyncio.to_thread(found, seeder)
        self.screen.note(f"signers {', '.join(SIGNERS)}; the app is {self.team.link}")
        try:
            await asyncio.to_thread(self.team.release, "0.9", example(), self.root, THRESHOLD - 1)
        except ThresholdNotMet as e:
            self.screen.note(f"signed by two only: refused. {e.message}")
        await asyncio.to_thread(self.team.release, "1.0", example(), self.root)
        seeder.state = "seeds 1.0"
        self.screen.note(
            f"guestbook 1.0, {PICTURES_BYTES >> 20} MiB, signed by alice, bob and carol: published"
        )
        return seeder

    async def run_in_office(self) -> list[Machine]:
        self.screen.act(f"{OFFICE} office machines, none of which has the app: each runs it by its key.")
        office = await asyncio.gather(*(self.add(f"office {number}") for number in range(1, OFFICE + 1)))
        await self.watched(asyncio.gather(*(self.run(each) for each in office)))
        return list(office)

    async def run(self, each: Machine) -> None:
        each.state = "pearrt run …"
        each.environ[ONLY_APP] = str(self.team.link)
        started = time.monotonic()
        each.said = await each.run(self.team.link, unsandboxed=self.unsandboxed)
        if each.ran_after_s is None:
            each.ran_after_s = time.monotonic() - started
        each.state = "ran, seeds"

    async def update(self, office: list[Machine]) -> None:
        self.screen.act(
            "Version 2.0 is signed and published at the seeder. Nobody in the office does anything."
        )
        await asyncio.to_thread(self.team.release, "2.0", example(), self.root)
        published = time.monotonic()

        async def everywhere() -> None:
            while not all(each.facts.get("version") == "2.0" for each in office):
                if time.monotonic() - published > SPREAD_TIMEOUT_S:
                    raise PeerTimeout(f"The update did not spread in {SPREAD_TIMEOUT_S:.0f} s.")
                await asyncio.sleep(LOOK_INTERVAL_S / 2)

        await self.watched(everywhere())
        self.spread_s = time.monotonic() - published
        await self.run(office[0])
        self.screen.note(
            f"all {len(office)} have 2.0 after {self.spread_s:.1f} s; office 1 says: {_last(office[0])}"
        )

    async def update_runtime(self) -> None:
        self.screen.act(
            "pearrt is an app too. A machine that runs its release gets the next one while an app runs."
        )
        act = RuntimeAct(self.screen, self.team, self.root, self.bootstrap, unsandboxed=self.unsandboxed)
        async with act:
            await self.watched(act.play())

    async def lose_seeder(self, seeder: Machine) -> None:
        self.screen.act("The seeder is killed. A ninth machine runs the app by its key all the same.")
        await self.look_once()
        await seeder.kill()
        seeder.state = "killed"
        ninth = await self.add("ninth")
        await self.watched(self.run(ninth))
        await self.look_once()
        self.screen.note(f"the ninth says: {_last(ninth)}")

    async def watched(self, work: Awaitable[Any]) -> None:
        """Does the work while the screen shows what the machines say of themselves."""
        watcher = asyncio.create_task(self._watch())
        try:
            await work
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await self.look_once()
            await asyncio.sleep(LOOK_INTERVAL_S)

    async def look_once(self) -> None:
        await asyncio.gather(*(each.look(self.team.link) for each in self.machines))
        self.screen.show(self.machines)

    def figures(self) -> dict[str, Any]:
        """One row per machine: seconds to the app's first word, bytes from the seeder and from the others."""
        rows = [self.screen.row(each, self.machines) for each in self.machines]
        return {"machines": rows, "spread_s": round(self.spread_s, 1), "sandboxed": not self.unsandboxed}


def _last(each: Machine) -> str:
    return each.said.splitlines()[-1] if each.said else "nothing"
