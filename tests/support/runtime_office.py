"""Machines that run pearrt out of its own releases, as a bootstrapper leaves them, for tests of the
self-update.

The first version is installed once, by a daemon that pip brought; every further machine is a copy of that
home made of hard links, with an identity of its own. Trees bring their bytecode along, so that many daemons
start from them at little cost.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from pearrt.app.library import AppFolder
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.link import Link
from pearrt.paths import Home
from pearrt.platform_tag import platform_tags
from pearrt.runtime import state as states
from pearrt.runtime.layout import RuntimeFolder, launcher
from pearrt.runtime.state import RuntimeState
from tests.support.machine import Machine, wait_for
from tests.support.runtime_bundle import runtime_tree
from tests.support.team import NAMES, Team


class Releases:
    """A team whose app is pearrt itself, on the machine of that team."""

    def __init__(self, machine: Machine, work: Path) -> None:
        self.work = work
        machine.ok("daemon", "start")
        self.team = Team(machine, work)

    @property
    def link(self) -> Link:
        return Link.parse(self.team.link)

    def stage(self, version: str, files: Mapping[str, str] | None = None) -> str:
        """Stages a version through the running daemon; gives its digest."""
        tree = runtime_tree(self.work / f"tree-{version}", version=version, files=files, compiled=True)
        manifest = Manifest(
            name="pearrt",
            version=version,
            entry=Entry(module="pearrt.cli.main", function="main"),
            platform=platform_tags()[0],
        )
        staged = self.team.machine.daemon.stage(tree, manifest.encode(), codec="zlib", level=1)
        return str(staged["digest"])

    def release(self, version: str, *signers: str, files: Mapping[str, str] | None = None) -> str:
        digest = self.stage(version, files)
        self.team.release(digest, *(signers or NAMES[:3]), version=version)
        return digest


class OwnMachine(Machine):
    """A machine whose `pearrt` is a version of its own, started by the launcher."""

    def __init__(self, home: Home, bootstrap: str = "", **settings: str) -> None:
        super().__init__(home, bootstrap, **settings)
        self.launcher = home.data / "pearrt"

    @property
    def folder(self) -> RuntimeFolder:
        return RuntimeFolder(self.home.data)

    def state(self) -> RuntimeState:
        return self.folder.read()

    def pearrt(self, *args: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.launcher), *map(str, args)],
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self) -> None:
        self.ok("daemon", "start")

    def version(self) -> str:
        """What the running daemon is."""
        return str(self.daemon.call("GET", "/v1/status")["version"]) if self.daemon.running() else ""

    def settled(self, version: str) -> bool:
        state = self.state()
        return not state.trial and state.name(state.current) == version

    def stop(self) -> None:
        if self.daemon.running():
            self.daemon.stop()
        wait_for(self.daemon.ended, "the daemon to end")


def install(machine: Machine, link: Link, host: str) -> OwnMachine:
    """Makes `machine`, a pip-run one, into one that runs the newest release of `link`."""
    machine.daemon.install(Link.parse(f"{link}?node={host}"), lambda _: None)
    machine.stop()
    return adopt(machine.home, link, machine.environ)


def adopt(home: Home, link: Link, environ: Mapping[str, str]) -> OwnMachine:
    """The last step of a bootstrapper: the state that names what is installed, and the launcher."""
    folder = AppFolder(home.apps, link.app_key)
    installed = folder.installed
    assert installed is not None
    RuntimeFolder(home.data).edit(
        lambda _: states.install(RuntimeState(), str(link), installed.index_digest, installed.version)
    )
    machine = OwnMachine(home)
    machine.environ = dict(environ)
    machine.launcher.write_text(launcher(home.data, sys.executable))
    machine.launcher.chmod(0o755)
    return machine


def clone(machine: OwnMachine, home: Home) -> OwnMachine:
    """Another machine with the same on its disk, but for its identity and what is its own."""
    shutil.copytree(
        machine.home.data,
        home.data,
        copy_function=os.link,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns(
            "identity.json", "run", "keys", "publishing", "daemon.log", "lock", "*.lock", "state.json", "pins"
        ),
    )
    shutil.copytree(machine.home.store / "pins", home.store / "pins", dirs_exist_ok=True)
    shutil.copyfile(machine.folder.state_file, home.data / "runtime" / "state.json")
    copy = OwnMachine(home)
    copy.environ = machine.environ | {"PEARRT_HOME": str(home.data)}
    copy.launcher.unlink()
    copy.launcher.write_text(launcher(home.data, sys.executable))
    copy.launcher.chmod(0o755)
    return copy


def logs(machines: Iterable[Machine]) -> str:
    return "\n".join(f"--- {machine.home.data}\n{machine.log()}" for machine in machines)
