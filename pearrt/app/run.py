"""`pearrt run`: from a link to the exit code of the app. The straight line of the person's side.

    link -> daemon -> installed release -> the person's yes -> sandbox -> exit code

What lies behind `daemon.install` (discovery, peers, trusted release, blocks, unpack) is `app/install.py`.
This side is synchronous and imports little: with the daemon up, an installed app starts as fast as the kernel
allows.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from pearrt.app.attend import Attendance
from pearrt.app.launch import Launchable
from pearrt.app.progress import Report
from pearrt.errors import Denied, NoSuchApp, UserError
from pearrt.link import Link
from pearrt.sandbox.policy import Permissions

if TYPE_CHECKING:
    from pearrt.sandbox.launch import Launch
    from pearrt.web.site import SignedFile

Approve = Callable[[Launchable], Collection[str] | None]
MAX_STARTS = 5  # of one app by itself, in STARTS_SPAN_S
STARTS_SPAN_S = 30.0
ROLL_BACK = "`pearrt rollback` brings the release before this one back."


class Daemon(Protocol):
    """What this line needs of the daemon: `daemon.caller.Daemon` has it."""

    def install(self, link: Link, report: Report, *, update: bool, allow_stale: bool) -> object: ...
    def launch(self, link: Link) -> Launchable | None: ...
    def grant(self, link: Link, permissions: Permissions, refused: Collection[str] = ()) -> None: ...
    def decline(self, link: Link, permissions: Permissions) -> None: ...
    def channel(self, app: Launchable) -> AbstractContextManager[int]: ...
    def attend(self, app: Launchable) -> AbstractContextManager[socket.socket | None]: ...
    def files(self, link: Link, digest: str) -> list[SignedFile]: ...


@dataclass(frozen=True, slots=True)
class Person:
    """The person's side of the line.

    `approve` shows what a release asks for and gives what of it they refuse, None for no; `tell` shows what
    there is to know before a start; `show` gets the address of the app's page, where it has one;
    `interactive` says whether they can be asked about a release that waits; `gives` names permissions that
    they give although they had refused them.
    """

    approve: Approve
    tell: Callable[[Launchable], None] = lambda _: None
    show: Callable[[str], None] = lambda _: None
    interactive: bool = False
    gives: Collection[str] = ()


def run(
    link: Link,
    daemon: Daemon,
    argv: Sequence[str],
    *,
    person: Person,
    report: Report,
    update: bool = False,
    allow_stale: bool = False,
    start: Callable[[Launch], int] | None = None,
) -> int:
    """Runs the app behind `link` with `argv` and gives its exit code. `start` is the sandbox's, or stands in
    for it.

    An installed app starts at once from disk; `update` waits for the newest release first. An app that asked
    for it is started again when it ends, in the version that is ready by then. Raises Denied when the person
    says no or the app is ended, Unsupported where the kernel cannot contain it, and what `install` raises.
    """
    starts: list[float] = []
    while True:
        app = _ready(link, daemon, report, update, allow_stale)
        if not starts:
            _check_gives(app, person.gives)
        switch = partial(_install, link, daemon, report, True, allow_stale)
        app = _approved(app, link, daemon, person, switch=switch, update=update)
        person.tell(app)
        check_starts(app.name, starts)
        with daemon.channel(app) as channel_fd, daemon.attend(app) as connection:
            launch = app.sandboxed(argv, link, channel_fd)
            with Attendance(connection, app.name) as attendance:
                code = start(launch) if start is not None else _start(launch, link, daemon, person.show)
        if attendance.stopped:
            raise Denied(f"{app.name} {app.version} was ended: {attendance.stopped}")
        if not attendance.restarting:
            return code
        update = False


def _ready(link: Link, daemon: Daemon, report: Report, update: bool, allow_stale: bool) -> Launchable:
    app = None if update else daemon.launch(link)
    return _install(link, daemon, report, update, allow_stale) if app is None else app


def _approved(
    app: Launchable,
    link: Link,
    daemon: Daemon,
    person: Person,
    *,
    switch: Callable[[], Launchable],
    update: bool,
) -> Launchable:
    """The release with the person's yes: the one that waits, after which it is `switch`ed to, or this one."""
    asking = update or (person.interactive and not app.pending_declined)
    if app.pending is not None and asking:
        refused = person.approve(app.pending)
        if refused is not None:
            daemon.grant(link, app.pending.permissions, refused)
            return switch()
        daemon.decline(link, app.pending.permissions)
    if not app.granted:
        refused = person.approve(app)
        if refused is None:
            raise Denied(f"{app.name} was not approved.", hint="Run it again to approve it, or pass --yes.")
        daemon.grant(link, app.permissions, refused)
        return replace(app, granted=True, refused=tuple(refused))
    if given := set(person.gives) & set(app.refused):
        left = set(app.refused) - given
        daemon.grant(link, app.permissions, left)
        return replace(app, refused=tuple(left))
    return app


def _check_gives(app: Launchable, gives: Collection[str]) -> None:
    """Raises UserError for a permission that is given and was never asked for."""
    asked = [each.permissions for each in (app, app.pending) if each is not None]
    for name in gives:
        if all(request.without([name]) == request for request in asked):
            known = ", ".join(asked[-1].optional()) or "nothing that can be given alone"
            raise UserError(f"{app.name} does not ask for {name}.", hint=f"It asks for {known}.")


def check_starts(name: str, starts: list[float], *, hint: str = ROLL_BACK) -> None:
    """An app that does nothing but start itself again is not let go on: `starts` are its times. Raises
    Denied."""
    now = time.monotonic()
    starts[:] = [at for at in starts if now - at < STARTS_SPAN_S] + [now]
    if len(starts) > MAX_STARTS:
        raise Denied(
            f"{name} started itself {MAX_STARTS} times in {STARTS_SPAN_S:.0f} s.",
            hint=hint,
        )


def _start(launch: Launch, link: Link, daemon: Daemon, show: Callable[[str], None]) -> int:
    """In the sandbox; with a page beside it where the app has one."""
    if launch.manifest.kind == "web" or launch.permissions.ui:
        from pearrt.app import pages

        if pages.has_page(launch):
            channel = pages.another_channel(lambda: daemon.launch(link), daemon.channel)
            files = partial(daemon.files, link, launch.folder.name)
            return pages.start(launch, show, files=files, channel=channel)
    from pearrt.sandbox import service

    return service.run(launch)


def _install(link: Link, daemon: Daemon, report: Report, update: bool, allow_stale: bool) -> Launchable:
    daemon.install(link, report, update=update, allow_stale=allow_stale)
    app = daemon.launch(link)
    if app is None:
        raise NoSuchApp("The app was uninstalled before it could start.", hint="Run it again to install it.")
    return app
