"""`python -m pearrt.daemon.checkup HOST PORT`: a version of pearrt examines itself before it takes over.

Run by the daemon of the version before it, from the new tree, beside everything that goes on. It has to load
all commands, read the settings, the identity, the store and every app's record, open a daemon on a *copy* of
that state in a folder of its own, have its API answer on a private socket, and shake hands with the running
daemon as with any peer. Nothing of the home is written to. Exit code 0, or a last line that says why not.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from pearrt import __version__
from pearrt.app.library import Library
from pearrt.daemon.caller import Daemon as Caller
from pearrt.daemon.identity import Identity
from pearrt.daemon.service import Daemon
from pearrt.errors import NoPeers, PearrtError, UserError
from pearrt.link import HostPort, encode_key
from pearrt.paths import Home
from pearrt.publish.publication import Publication, publications
from pearrt.runtime.layout import RuntimeFolder
from pearrt.settings import Settings
from pearrt.store.service import Store

FIND_TIMEOUT_S = 15.0
POLL_S = 0.05
RECORDS = ("trust.benc", "installed.json", "previous.json", "grant.json", "wish.json")


async def examine(home: Home, peer: HostPort) -> None:
    """Raises whatever is wrong."""
    _load_commands()
    settings = Settings.load(home)
    RuntimeFolder(home.data).read()
    with tempfile.TemporaryDirectory(prefix="pearrt-check-") as folder:
        copy = Home.at(Path(folder))
        copy.prepare()
        _copy_records(home, copy)
        _read(home)
        alone = replace(
            settings,
            listen=HostPort("127.0.0.1", 0),
            dht=False,
            mdns="off",
            hosts=(peer,),
            idle_exit_s=None,
        )
        async with Daemon(copy, alone) as daemon:
            await asyncio.to_thread(_ask, copy)
            if daemon.apps.followed:
                await _meet(daemon, peer)


def _load_commands() -> None:
    for module, _ in importlib.import_module("pearrt.cli.main").COMMANDS.values():
        importlib.import_module(f"pearrt.cli.{module}")
    importlib.import_module("pearrt.sandbox.service")


def _copy_records(home: Home, copy: Home) -> None:
    for folder in Library(home.apps):
        target = copy.apps / encode_key(folder.app_key)
        target.mkdir(parents=True, mode=0o700)
        for name in RECORDS:
            if (folder.root / name).exists():
                shutil.copyfile(folder.root / name, target / name)

    state = RuntimeFolder(home.data).state_file
    if state.exists():  # so that changes of format are tried on the copy
        (copy.data / "runtime").mkdir(mode=0o700)
        shutil.copyfile(state, RuntimeFolder(copy.data).state_file)


def _read(home: Home) -> None:
    """What the new version must be able to read, in place."""
    if home.identity.exists():
        Identity.open(home.identity)
    for folder in publications(home.publishing):
        Publication.open(folder)
    with Store(home.store, read_only=True) as store:
        store.pins()
        for app in Library(home.apps):
            if app.installed is not None:
                for block in app.installed.index_blocks:
                    store.get(bytes.fromhex(block))


def _ask(home: Home) -> None:
    """The API, as a command asks it."""
    caller = Caller(home, environ={})
    status = caller.call("GET", "/v1/status")
    if status["version"] != __version__:
        raise UserError(f"The API answers as {status['version']} and not as {__version__}.")
    caller.apps()


async def _meet(daemon: Daemon, peer: HostPort) -> None:
    deadline = time.monotonic() + FIND_TIMEOUT_S
    while not daemon.peers.links:
        if time.monotonic() > deadline:
            raise NoPeers(f"The running daemon at {peer} was not reached.")
        await asyncio.sleep(POLL_S)


def main(argv: list[str]) -> int:
    """The process: 0 for healthy."""
    logging.basicConfig(stream=sys.stderr, level="WARNING")
    try:
        asyncio.run(examine(Home.from_environment(), HostPort(argv[0], int(argv[1]))))
    except PearrtError as e:
        sys.stderr.write(f"{e.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
