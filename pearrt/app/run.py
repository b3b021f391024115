"""`pearrt run`: from a link to the exit code of the app. The straight line of the person's side.

    link -> daemon -> installed release -> the person's yes -> sandbox -> exit code

What lies behind `daemon.install` (discovery, peers, trusted release, blocks, unpack) is `app/install.py`.
This side is synchronous and imports little: with the daemon up, an installed app starts as fast as the kernel
allows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Protocol

from pearrt.app.launch import Launchable
from pearrt.app.progress import Report
from pearrt.errors import Denied
from pearrt.link import Link
from pearrt.sandbox.policy import Permissions

if TYPE_CHECKING:
    from pearrt.sandbox.launch import Launch
    from pearrt.web.site import SignedFile

Approve = Callable[[Launchable], bool]


class Daemon(Protocol):
    """What this line needs of the daemon: `daemon.caller.Daemon` has it."""

    def install(self, link: Link, report: Report, *, update: bool, allow_stale: bool) -> object: ...
    def launch(self, link: Link) -> Launchable | None: ...
    def grant(self, link: Link, permissions: Permissions) -> None: ...
    def channel(self, app: Launchable) -> AbstractContextManager[int]: ...
    def files(self, link: Link, digest: str) -> list[SignedFile]: ...


def run(
    link: Link,
    daemon: Daemon,
    argv: Sequence[str],
    *,
    approve: Approve,
    report: Report,
    warn: Callable[[str], None] = lambda _: None,
    update: bool = False,
    allow_stale: bool = False,
    start: Callable[[Launch], int] | None = None,
    show: Callable[[str], None] = lambda _: None,
) -> int:
    """Runs the app behind `link` with `argv` and gives its exit code. `start` is the sandbox's, or stands in
    for it. `show` gets the address of the app's page, where it has one.

    An installed app starts at once from disk; `update` waits for the newest release first. Raises Denied when
    the person says no, Unsupported where the kernel cannot contain the app, and what `install` raises.
    """
    app = None if update else daemon.launch(link)
    if app is None:
        app = _install(link, daemon, report, update, allow_stale)
    if update and app.pending is not None and approve(app.pending):
        daemon.grant(link, app.pending.permissions)
        app = _install(link, daemon, report, update, allow_stale)
    if not app.granted:
        if not approve(app):
            raise Denied(f"{app.name} was not approved.", hint="Run it again and answer yes, or pass --yes.")
        daemon.grant(link, app.permissions)
    if app.revoked:
        warn(f"{app.name} {app.version} was revoked by its signers: {app.revoked}")
    with daemon.channel(app) as channel_fd:
        launch = app.sandboxed(argv, link, channel_fd)
        return start(launch) if start is not None else _start(launch, link, daemon, show)


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
    assert app is not None, "installed, yet nothing to launch"
    return app
