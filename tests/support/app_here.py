"""A publisher and daemons' apps inside the test's own process: real stores, real peers on loopback, no
commands."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from pearrt.app.apps import Apps
from pearrt.app.drafting import Terms, draft_release
from pearrt.app.progress import silent
from pearrt.app.stage import stage
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.crypto import ed25519
from pearrt.crypto.keyfile import PublicKey
from pearrt.link import Link
from pearrt.paths import Home
from pearrt.publish.app import new_app
from pearrt.publish.draft import Draft, sign
from pearrt.publish.heartbeat import Heartbeat
from pearrt.publish.publication import Publication
from tests.support.swarm_apps import Peer, running_peer
from tests.support.trees import write_tree


@dataclass(slots=True)
class Here:
    """One daemon's apps, and the peer that they use."""

    home: Home
    apps: Apps
    peer: Peer

    def knows(self, other: Here, link: Link) -> None:
        """Finds `other` as one of the app's peers."""
        self.apps.followed[link.app_key].members.add_peer(other.peer.address)


@contextlib.asynccontextmanager
async def running_apps(home: Home) -> AsyncIterator[Here]:
    """The apps of `home` while it is open; fresh installs are not compiled in a sandbox."""
    async with running_peer(home.data) as peer, asyncio.TaskGroup() as tasks:
        apps = Apps(home, peer.store, peer.swarm, tasks)
        apps.switching.settle = lambda *_: None
        await apps.restore()
        yield Here(home, apps, peer)
        apps.close()


class Team:
    """`threshold` of some signers whose seeds are at hand, and the app that they publish from `home`."""

    def __init__(self, home: Home, signers: int = 1, threshold: int = 1, period_s: int = 86400) -> None:
        self.home = home
        self.seeds = [bytes([number]) * 32 for number in range(1, signers + 1)]
        self.threshold = threshold
        self.heartbeat = Heartbeat(os.urandom(32), period_s)
        public = [PublicKey(ed25519.public_key(seed), f"s{seed[0]}") for seed in self.seeds]
        new = new_app(
            public,
            threshold,
            heartbeat=self.heartbeat.public,
            app_id=os.urandom(16),
            now=time.time(),
        )
        self.publication = Publication.create(
            home.publishing, new, self.sign(new.root), self.sign(new.targets), self.heartbeat, time.time()
        )
        self.link = Link(new.app_key)

    def sign(self, draft: Draft) -> list:  # type: ignore[type-arg]
        return [sign(draft, seed) for seed in self.seeds[: self.threshold]]

    def commit(self, make: Callable[[Publication], Draft]) -> None:
        draft = make(self.publication)
        self.publication = self.publication.commit(draft, self.sign(draft), time.time())

    async def release(
        self,
        here: Here,
        version: str = "1.0",
        files: dict[str, bytes] | None = None,
        notes: str = "",
        channel: str = "stable",
    ) -> None:
        """Stages a tree into the publisher's store, releases it, and tells the publisher's apps."""
        tree = files or {"thing.py": b"print(1)\n", "data": os.urandom(300_000)}
        folder = write_tree(self.home.data / f"tree-{version}", tree)
        manifest = Manifest(name="thing", version=version, entry=Entry(module="thing"))
        record = await stage(folder, manifest.encode(), here.apps.store, self.home, silent)
        self.commit(
            lambda publication: draft_release(
                publication.trusted,
                self.home,
                [record["digest"]],
                Terms(notes=notes, channel=channel),
                time.time(),
            )
        )
        await here.apps.publishing.publish(self.link)
