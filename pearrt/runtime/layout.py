"""Where pearrt's own versions lie on disk, and how one of them is started. Standard library only: the
bootstrapper and the starters use it too.

    <data>/runtime/state.json      which version runs (`state.py`); replaced whole, never in place
                   starts/         starts that are under way or crashed (`starts.py`)
                   lock            held while state.json is read and written again
                   update.lock     held by whoever fetches, checks and switches: one updater at a time
    <data>/apps/<key>/releases/<digest>/   the versions' trees: pearrt/ and all it imports, side by side
                      bytecode/<digest>/   compiled modules, where the tree does not bring its own

A kill or a power cut at any write leaves the old state or the new. A tree is named in state.json only once it
is whole and durable, so what state.json names can be started.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pearrt.atomic import write_file
from pearrt.errors import Corrupt, Locked, StoreError
from pearrt.link import Link
from pearrt.runtime import starts
from pearrt.runtime import state as states
from pearrt.runtime.state import RuntimeState
from pearrt.store.lock import ProcessLock

STATE_FILE = "state.json"
STARTER = Path("pearrt/runtime/start.py")
EDIT_TIMEOUT_S = 10.0
EDIT_POLL_S = 0.01


class RuntimeFolder:
    """The runtime's files under one data directory (`Home.data`)."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.root = data / "runtime"
        self.state_file = self.root / STATE_FILE
        self.starts = self.root / "starts"

    def read(self) -> RuntimeState:
        """The state; an empty one where there is no file. Raises Corrupt, StoreError."""
        try:
            return states.decode(self.state_file.read_bytes())
        except FileNotFoundError:
            return RuntimeState()
        except OSError as e:
            raise StoreError(f"Cannot read {self.state_file}: {e.strerror}.") from e

    def edit(self, change: Callable[[RuntimeState], RuntimeState]) -> RuntimeState:
        """Applies `change` to the state, alone, and writes it durably if it differs; gives the new one.

        Raises what `change` raises, Locked after EDIT_TIMEOUT_S, Full, StoreError; the old state stays then.
        """
        self._create()
        with self._locked("lock", EDIT_TIMEOUT_S):
            before = self.read()
            after = change(before)
            if after != before:
                write_file(self.state_file, states.encode(after))
            return after

    def begin(self, digest: str, version: str, *, retry: bool = False) -> RuntimeState:
        """As `state.begin`; what counted against the version when it was tried before does so no more."""
        starts.forget(self.starts, digest)
        return self.edit(lambda state: states.begin(state, digest, version, retry=retry))

    @contextlib.contextmanager
    def updating(self) -> Iterator[None]:
        """Held by the one updater. Raises Locked at once where there is another."""
        self._create()
        with self._locked("update.lock", 0.0):
            yield

    def choose(self) -> RuntimeState:
        """The `runs` of what this gives is to be started. A version that crashed too often has given way to
        the one before it, and the person is told."""
        state = self.read()
        return self._without_crashes(self._without_failed_trial(state) if state.trial else state)

    def crashes(self, state: RuntimeState) -> list[str]:
        """What was said of the crashes that count against the confirmed version, the last one last."""
        return starts.crashes(self.starts, state.current)

    def gives_way(self, state: RuntimeState) -> str:
        """Why the confirmed version is to give way to the one before it; "" where it is not, or cannot."""
        said = self.crashes(state)
        if len(said) < starts.MAX_CRASHES or not state.previous:
            return ""
        if not (self.tree(state.previous, state.link) / STARTER).is_file():
            return ""
        return f"it crashed at {len(said)} starts and was not well between; the last time: {said[-1]}"

    def _without_failed_trial(self, state: RuntimeState) -> RuntimeState:
        said = starts.crashes(self.starts, state.trial, on_trial=True)
        if len(said) < starts.MAX_CRASHES:
            return state
        reason = f"it was started {len(said)} times and did not stay up; the last time: {said[-1]}"
        failed = states.fail(state, reason)
        with contextlib.suppress(StoreError):
            self.edit(lambda now: states.fail(now, reason) if now.trial == state.trial else now)
            starts.forget(self.starts, state.trial)
        return failed

    def _without_crashes(self, state: RuntimeState) -> RuntimeState:
        if not (reason := self.gives_way(state)):
            return state
        try:
            after = self.edit(lambda now: states.give_way(now, state.current, reason))
        except StoreError:
            return state  # it could not be recorded: then nothing is switched
        starts.forget(self.starts, state.current)
        if after.current != state.current and "--json" not in sys.argv:
            old, new = state.name(state.current), after.name(after.current)
            sys.stderr.write(f"pearrt: pearrt {old} gives way to {new}: {reason}\n")
        return after

    def tree(self, digest: str, link: str = "") -> Path:
        """Where the version with this digest is, or will be, unpacked."""
        return self._app(link) / "releases" / digest

    def bytecode(self, digest: str) -> Path:
        """Where its compiled modules are, or will be, if it brings none."""
        return self._app() / "bytecode" / digest

    def _app(self, link: str = "") -> Path:
        link = link or self.read().link
        if not link:
            raise Corrupt(f"{self.state_file} names no link.", hint="Run the bootstrapper again.")
        return self.data / "apps" / Link.parse(link).key_text

    def _create(self) -> None:
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as e:
            raise StoreError(f"Cannot make {self.root}: {e.strerror}.") from e

    @contextlib.contextmanager
    def _locked(self, name: str, timeout_s: float) -> Iterator[None]:
        lock = ProcessLock(self.root / name)
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                lock.acquire()
                break
            except Locked:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(EDIT_POLL_S)
            except OSError as e:
                raise StoreError(f"Cannot lock {lock.path}: {e.strerror}.") from e
        try:
            yield
        finally:
            lock.release()


def command(home: Path, digest: str, argv: Sequence[str], *, module: str = "pearrt") -> list[str]:
    """The command line that runs `module` of one version's tree, with the present interpreter.

    `home` is the data directory. Isolated (-I) and without site-packages (-S): all that it imports is in its
    own tree or the standard library. The tree is never written to: compiled modules lie beside it, unless it
    brings them. Raises Corrupt where no link is known.
    """
    folder = RuntimeFolder(home)
    tree = folder.tree(digest)
    if (tree / "pearrt" / "__pycache__").is_dir():
        cache = ["-B"]
    else:
        cache = ["-X", f"pycache_prefix={folder.bytecode(digest)}"]
    return [sys.executable, "-I", "-S", *cache, os.fspath(tree / STARTER), module, *argv]


def running(home: Path) -> str:
    """The digest of the version under `home` that this very process runs; "" where pearrt came by pip or a
    package, or runs from another home."""
    tree = Path(__file__).absolute().parents[2]
    if tree.parent.name != "releases" or tree.parents[2].name != "apps":
        return ""
    try:
        return tree.name if os.path.samefile(tree.parents[3], home) else ""
    except OSError:
        return ""


def launcher(home: Path, python: str = "") -> str:
    """The text of the small script that people start as `pearrt`: it hands over to the confirmed version,
    which decides. It relies on the place of state.json and on the fields read here only."""
    return _LAUNCHER.format(python=python or sys.executable, home=os.fspath(home))


_LAUNCHER = '''\
#!{python} -IS
"""pearrt: starts the version that its state file names."""
import json
import os
import sys

HOME = {home!r}


def main():
    home = os.path.abspath(os.path.expanduser(os.environ.get("PEARRT_HOME") or HOME))
    try:
        with open(os.path.join(home, "runtime", "state.json"), encoding="utf-8") as file:
            state = json.load(file)
        key = state["link"].removeprefix("pearrt://")[:55]
        versions = [state["current"], state["previous"]]
    except (OSError, ValueError, KeyError) as e:
        sys.exit(f"error: no pearrt is installed under {{home}}: {{e}}\\n  try: run the bootstrapper again")
    for digest in filter(None, versions):
        tree = os.path.join(home, "apps", key, "releases", digest)
        starter = os.path.join(tree, "pearrt", "runtime", "start.py")
        if os.path.isfile(starter):
            own = os.path.isdir(os.path.join(tree, "pearrt", "__pycache__"))
            prefix = os.path.join(home, "apps", key, "bytecode", digest)
            cache = ["-B"] if own else ["-X", "pycache_prefix=" + prefix]
            os.execv(sys.executable, [sys.executable, "-I", "-S", *cache, starter, "--choose", *sys.argv[1:]])
    sys.exit(f"error: the pearrt installed under {{home}} is not whole\\n  try: run the bootstrapper again")


main()
'''
