"""The daemon as `app.run` needs it, where the app comes out of a `.pear` file instead of from peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pearrt.app.progress import Report
from pearrt.bundle.pear_file import PearFile
from pearrt.daemon.caller import Daemon
from pearrt.link import Link


class FromFile(Daemon):
    """Installing is importing. Raises as `PearFile` does for what is no such file."""

    def __init__(self, daemon: Daemon, path: Path) -> None:
        super().__init__(daemon.home, environ=daemon.environ)
        self.path = path.absolute()
        with PearFile(self.path) as file:
            self.link = Link.parse(file.links[0])

    def install(
        self, link: Link, report: Report, *, update: bool = False, allow_stale: bool = False
    ) -> dict[str, Any]:
        return self.import_file(self.path, report, allow_stale=allow_stale)
