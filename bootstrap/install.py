"""From the runtime's link to an installed runtime: the straight line of the bootstrapper.

    discovery -> sources -> trusted release -> blocks -> store -> unpack -> switch

Interrupted anywhere, it goes on where it was: trust and blocks are kept in the ordinary places, where the
daemon seeds them later. Nothing is unpacked before all of it is verified; the state file names a version only
once its tree is whole and durable. One installer at a time: a second one waits and finds the work done.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bootstrap.agreement import Agreement
from bootstrap.discovery import Discovery
from bootstrap.installation import Installation, Task
from bootstrap.pear_source import PearSource
from bootstrap.pool import Pool
from bootstrap.screen import Screen
from pearrt.app.library import AppFolder
from pearrt.app.record import Installed, Wish
from pearrt.atomic import write_file
from pearrt.bundle.pear_file import PearFile
from pearrt.errors import Corrupt, Locked
from pearrt.link import Link, topic_of
from pearrt.paths import Home
from pearrt.runtime import state as states
from pearrt.runtime.layout import STARTER, RuntimeFolder, launcher
from pearrt.runtime.state import RuntimeState
from pearrt.store.service import Store
from pearrt.trust.release import Release

PYTHON_FILE = "python"  # in runtime/: the interpreter that the installed version was chosen for
WAIT_S = 0.1


@dataclass(frozen=True, slots=True)
class Report:
    """What was done: the version and its digest, bytes fetched by source, seconds."""

    version: str
    digest: str
    fetched: dict[str, int]
    seconds: float


def installed(home: Home) -> RuntimeState | None:
    """The state of a runtime that can be started with this interpreter; None where there is none."""
    folder = RuntimeFolder(home.data)
    try:
        state = folder.read()
        whole = state.runs and (folder.tree(state.runs) / STARTER).is_file()
        same_python = (folder.root / PYTHON_FILE).read_text().strip() == sys.implementation.cache_tag
    except (Corrupt, FileNotFoundError):
        return None
    return state if whole and same_python else None


def install(task: Task, home: Home, screen: Screen) -> Report | None:
    """Installs the runtime, unless that was done while this waited for another installer: None then.

    Raises NoPeers, TrustError, UserError where no release fits, Full, Locked where a daemon holds the store.
    """
    began = time.monotonic()
    home.prepare()
    folder = RuntimeFolder(home.data)
    with _alone(folder, screen), contextlib.ExitStack() as stack:
        if installed(home) is not None:
            return None
        app = AppFolder(home.apps, task.link.app_key)
        store = stack.enter_context(Store(home.store))
        agreement = Agreement(app, allow_stale=task.allow_stale)
        pool, discovery = _sources(task, agreement, stack)
        line = Installation(task, app, store, pool, screen)
        release = line.find(agreement, discovery)
        index = line.fetch(release)
        line.unpack(release, index)
        store.sync()
        _record(release, app, task.link)
        _switch(folder, task.link, release)
        return Report(release.version, release.index_digest.hex(), pool.fetched(), time.monotonic() - began)


@contextlib.contextmanager
def _alone(folder: RuntimeFolder, screen: Screen) -> Iterator[None]:
    """Holds the updater's lock; waits for another installer, which will not take for ever."""
    told = False
    while True:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(folder.updating())
            except Locked:
                if not told:
                    screen.step("waiting for another installer on this machine")
                    told = True
                time.sleep(WAIT_S)
                continue
            yield
            return


def _sources(task: Task, agreement: Agreement, stack: contextlib.ExitStack) -> tuple[Pool, Discovery]:
    """The pool, with the file in it and everything that looks for more; open as long as `stack` is."""
    file = stack.enter_context(PearFile(task.file)) if task.file else None
    pool = stack.enter_context(Pool(task.link.app_key, agreement.first_root_wanted))
    if file is not None:
        pool.add(str(task.file), lambda: PearSource(file))
    topic = topic_of(task.link.app_key, task.psk)
    return pool, stack.enter_context(Discovery(topic, task.places, pool.add))


def _record(release: Release, app: AppFolder, link: Link) -> None:
    """What the daemon needs to go on seeding and following the runtime."""
    app.switch(Installed.of(release, release.name, time.time()))
    app.wish = Wish(link=str(link))


def _switch(folder: RuntimeFolder, link: Link, release: Release) -> None:
    """Makes the release the one that starts. What stood there could not be started here."""
    digest = release.index_digest.hex()
    try:
        folder.read()
    except Corrupt:
        folder.state_file.replace(folder.state_file.with_name("state.damaged.json"))

    def switch(state: RuntimeState) -> RuntimeState:
        failed = {known: why for known, why in state.failed.items() if known != digest}
        empty = replace(state, current="", previous="", trial="", failed=failed)
        return states.install(empty, str(link), digest, release.version)

    write_file(folder.root / PYTHON_FILE, f"{sys.implementation.cache_tag}\n".encode())
    place = folder.data / "bin"
    place.mkdir(mode=0o755, exist_ok=True)
    write_file(place / "pearrt", launcher(folder.data).encode(), mode=0o755)
    folder.edit(switch)
