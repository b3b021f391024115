"""Kills a process that downloads, unpacks and switches versions of the runtime, at random moments, and looks
at what is left. Run as a program: forking is safe in a process without threads. Prints its kills.

    python -m tests.support.runtime_crash FOLDER KILLS

The process runs the updater itself; only the peers are left out: blocks come out of memory. After each kill a
version that is named can be started, whole; nothing that failed is; and the next process goes on from there.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import random
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pearrt.app.library import AppFolder
from pearrt.app.progress import silent
from pearrt.app.record import Installed
from pearrt.bundle.index import Index
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.bundle.unpack import unpack
from pearrt.bundle.verify import verify_tree
from pearrt.link import Link
from pearrt.runtime import state as states
from pearrt.runtime import updater
from pearrt.runtime.layout import RuntimeFolder
from pearrt.runtime.policy import Policy
from pearrt.store.service import Store
from pearrt.trust.release import Release
from tests.support.trees import Bundle, bundle, text, write_tree

APP_KEY = b"r" * 32
LINK = str(Link(APP_KEY))
VERSIONS = 6


class Home:
    """One home with versions 0 to 5 at hand; version 0 is installed."""

    def __init__(self, root: Path, bundles: list[Bundle]) -> None:
        self.runtime = RuntimeFolder(root)
        self.folder = AppFolder(root / "apps", APP_KEY)
        self.root, self.bundles = root, bundles
        self.digests = [made.staged.digest.hex() for made in bundles]

    def index(self, digest: str) -> Index:
        return self.bundles[self.digests.index(digest)].index

    def install(self) -> None:
        self.folder.create()
        first = self.bundles[0]
        unpack(first.index, first.get, self.folder.tree(self.digests[0]))
        self.folder.switch(Installed("0", 0, self.digests[0], [], "pearrt", 0))
        self.runtime.edit(lambda state: states.install(state, LINK, self.digests[0], "0"))

    def updater(self, store: Store) -> updater.Updater:
        app: Any = SimpleNamespace(
            folder=self.folder,
            link=Link(APP_KEY),
            trusted=SimpleNamespace(revoked=lambda _: None),
            members=SimpleNamespace(drop_bundle=lambda _: None),
        )

        async def fault(digest: str) -> str:
            return "unhealthy" if random.random() < 0.2 else ""

        return updater.Updater(self.runtime, app, store, policy=lambda _: Policy(), fault=fault)

    async def live(self) -> None:
        """Updates, trials, failures and steps back without end."""
        with Store(self.root / "store") as store:
            each = self.updater(store)
            while True:
                state = self.runtime.edit(lambda state: states.RuntimeState(**_forgiven(state)))
                number = (self.digests.index(state.current) + 1) % VERSIONS
                updater.newest = _choosing(self.bundles[number], str(number))  # type: ignore[attr-defined]
                updater.fetch = _downloading(self.bundles[number], store)  # type: ignore[attr-defined]
                outcome = await each.look(silent)
                if not outcome.trial:
                    self.end_trial()
                    continue
                self.end_trial()
                each.reconcile()
                store.gc()

    def end_trial(self) -> None:
        trial = self.runtime.read().trial
        if random.random() < 0.6:
            self.runtime.edit(lambda state: states.confirm(state, trial))
        else:
            self.runtime.edit(lambda state: states.fail(state, "crash"))

    def check(self) -> str:
        """What was going on, by what is left; AssertionError where that is not startable and whole."""
        state = self.runtime.read()
        assert state.current, "no version is named"
        assert state.runs not in state.failed
        for digest in {state.runs, state.current}:
            tree = self.folder.tree(digest)
            assert tree.is_dir(), f"{state.name(digest)} is named and is not there"
            assert verify_tree(self.index(digest), tree) == [], f"{state.name(digest)} is not whole"
        if state.previous:
            assert verify_tree(self.index(state.previous), self.folder.tree(state.previous)) == []
        if any(path.name.endswith(".tmp") for path in self.folder.releases.iterdir()):
            return "unpack"
        return "trial" if state.trial else "other"


def _forgiven(state: states.RuntimeState) -> dict[str, Any]:
    """There are only so many versions: what failed may be tried again, here."""
    return {name: getattr(state, name) for name in state.__slots__} | {"failed": {}}


def _choosing(made: Bundle, version: str) -> Any:
    release = Release(
        "stable", "any", "pearrt", version, 1, made.staged.digest, 1, made.staged.index_blocks, "", 0.0
    )

    def newest(*_: object, **__: object) -> Any:
        return SimpleNamespace(release=release, newest=release, reason="")

    return newest


def _downloading(made: Bundle, store: Store) -> Any:
    async def fetch(*_: object, **__: object) -> Index:
        store.pin(made.staged.digest.hex(), list(made.blocks))
        for block_id, data in made.blocks.items():
            store.put(block_id, data)
        return made.index

    return fetch


def _bundles(folder: Path) -> list[Bundle]:
    made = []
    for number in range(VERSIONS):
        files = {f"d{at % 3}/f{at}": text(number * 100 + at, 4000) for at in range(24)}
        manifest = Manifest("pearrt", str(number), Entry(module="pearrt"))
        made.append(bundle(write_tree(folder / str(number), files), codec="zlib", level=1, manifest=manifest))
    return made


def main(folder: Path, kills: int) -> None:
    packed = folder / "bundles"
    pid = os.fork()  # staging starts threads: let another process do it
    if pid == 0:
        packed.write_bytes(pickle.dumps(_bundles(folder / "in")))
        os._exit(0)
    os.waitpid(pid, 0)
    home = Home(folder / "home", pickle.loads(packed.read_bytes()))
    pid = os.fork()
    if pid == 0:
        home.install()
        os._exit(0)
    os.waitpid(pid, 0)
    rng, seen = random.Random(), {"unpack": 0, "trial": 0, "other": 0}
    for _ in range(kills):
        pid = os.fork()
        if pid == 0:
            random.seed()
            try:
                asyncio.run(home.live())
            finally:
                os._exit(1)
        time.sleep(rng.uniform(0.005, 0.12))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), "the process ended by itself: see its traceback"
        seen[home.check()] += 1
    print(*seen.values())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
