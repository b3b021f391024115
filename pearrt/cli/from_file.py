"""The daemon as `app.run` needs it, where the app comes out of a `.pear` file instead of from peers."""

from __future__ import annotations

import socket
from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from pearrt.app.launch import Launchable
from pearrt.app.progress import Report
from pearrt.bundle.pear_file import PearFile
from pearrt.daemon.caller import Daemon
from pearrt.link import Link
from pearrt.sandbox.policy import Permissions

if TYPE_CHECKING:
    from pearrt.web.site import SignedFile


class FromFile:
    """Installing is importing; all else is the daemon's. Raises as `PearFile` does for what is no such
    file."""

    def __init__(self, daemon: Daemon, path: Path) -> None:
        self.daemon = daemon
        self.path = path.absolute()
        with PearFile(self.path) as file:
            self.link = Link.parse(file.links[0])

    def install(self, link: Link, report: Report, *, update: bool, allow_stale: bool) -> object:
        return self.daemon.import_file(self.path, report, allow_stale=allow_stale)

    def launch(self, link: Link) -> Launchable | None:
        return self.daemon.launch(link)

    def grant(self, link: Link, permissions: Permissions, refused: Collection[str] = ()) -> None:
        self.daemon.grant(link, permissions, refused)

    def decline(self, link: Link, permissions: Permissions) -> None:
        self.daemon.decline(link, permissions)

    def attend(self, app: Launchable) -> AbstractContextManager[socket.socket | None]:
        return self.daemon.attend(app)

    def files(self, link: Link, digest: str) -> list[SignedFile]:
        return self.daemon.files(link, digest)

    def channel(self, app: Launchable) -> AbstractContextManager[int]:
        return self.daemon.channel(app)
