"""A folder of the person's own, run as the app it will be: for who writes one, before it is released.

The folder is a project as `pearrt stage` takes it. It runs in the same sandbox with what its manifest asks
for, and with private storage and a log that are its own as long as it stays where it is. Nobody signed it, so
nothing is verified; its calls are answered as the daemon would (`daemon/own_folder.py`), but for what takes
other people. Where it asks to be started again it is what the folder holds by then. Only its owner can run
it, as it is their own code: that is also why the sandbox may be left out here, and nowhere else.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from pearrt.app import granting
from pearrt.app.attend import Attendance
from pearrt.app.library import AppFolder
from pearrt.app.record import Installed
from pearrt.app.run import check_starts
from pearrt.app.stage import check_asked
from pearrt.app.start import Start
from pearrt.bundle.manifest import Manifest
from pearrt.errors import Denied, Unsupported
from pearrt.paths import Home
from pearrt.publish.stage import from_project
from pearrt.sandbox import service
from pearrt.sandbox.launch import Launch
from pearrt.web.site import SignedFile

_TAG = b"pearrt-local-v1\0"
RESTARTS = "It calls `sdk.updates.restart` soon after each start."
LOCAL = "local"  # below pearrt's data: one folder for each app that was run so, as `library.py` has them
Show = Callable[[str], None]


class Runtime(Protocol):
    """Answers the calls of the running app."""

    def channel(self) -> AbstractContextManager[int]: ...
    def attend(self) -> AbstractContextManager[socket.socket | None]: ...


Answering = Callable[[AppFolder, Start], AbstractContextManager[Runtime]]


def run_folder(
    folder: Path,
    argv: Sequence[str],
    home: Home,
    *,
    show: Show,
    answering: Answering,
    contained: bool = True,
) -> int:
    """Runs the project in `folder`; gives its exit code. `answering` is the runtime's side of its channel.

    Raises Denied for a folder of somebody else's, UserError for one that is no project, and what the sandbox
    raises.
    """
    place = Path(os.path.realpath(folder))
    if os.name == "nt":
        raise Unsupported("A folder is not run on Windows: whose it is is not known there.")
    if os.stat(place).st_uid != os.geteuid():
        raise Denied(
            f"{place} belongs to another user.", hint="Copy it, or run the app by the link of its release."
        )
    home.prepare()
    starts: list[float] = []
    while True:
        with from_project(place) as prepared:
            check_starts(prepared.manifest.name, starts, hint=RESTARTS)
            asked = check_asked(prepared.manifest)
            own = _own(place, prepared.manifest, home)
            launch = Launch(
                own.app_key,
                prepared.manifest,
                prepared.folder,
                own.data,
                asked,
                argv=tuple(argv),
            )
            start = _start if contained else _start_uncontained
            code, again = _run(launch, own, answering, partial(start, show=show))
        if not again:
            return code


def _run(
    launch: Launch, own: AppFolder, answering: Answering, start: Callable[[Launch, Runtime], int]
) -> tuple[int, bool]:
    """The exit code, and whether the app wants to be started again."""
    installed = Start(own.app_key, launch.manifest.version, "", launch.permissions)
    with (
        answering(own, installed) as runtime,
        runtime.channel() as channel_fd,
        runtime.attend() as connection,
        Attendance(connection, launch.manifest.name) as attendance,
    ):
        code = start(replace(launch, channel_fd=channel_fd), runtime)
    return code, attendance.restarting


def _start(launch: Launch, runtime: Runtime, *, show: Show) -> int:
    if launch.manifest.kind == "web" or launch.permissions.ui:
        from pearrt.app import pages

        if pages.has_page(launch):
            files = partial(_files, launch.folder)
            return pages.start(launch, show, files=files, channel=runtime.channel)
    return service.run(launch)


def _start_uncontained(launch: Launch, _: Runtime, *, show: Show) -> int:
    return service.run_own_code(launch)


def _own(place: Path, manifest: Manifest, home: Home) -> AppFolder:
    """Where the app's storage and log are; what it asks for is given."""
    own = AppFolder(home.data / LOCAL, hashlib.sha256(_TAG + os.fsencode(place)).digest())
    own.create()
    own.switch(Installed(manifest.version, 0, "", [], manifest.name, 0))
    granting.approve(own, manifest, ())
    return own


def _files(folder: Path) -> Iterator[SignedFile]:
    """What the index would say of the files that are here now."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            yield SignedFile(path.relative_to(folder).as_posix(), len(data), hashlib.sha256(data).digest())
