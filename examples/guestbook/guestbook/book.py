"""The visits, one a line, in a file that only this app can see."""

from __future__ import annotations

import os
from pathlib import Path


def storage() -> Path:
    """The private storage that the sandbox gives; a folder of the user's where the app runs without one."""
    given = os.environ.get("PEARRT_DATA")
    folder = Path(given) if given else Path.home() / ".guestbook"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Book:
    """Visits in the order in which they came."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "visits.txt"

    def visits(self) -> list[str]:
        try:
            return self.file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def sign(self, guest: str) -> None:
        """Adds a visit: written beside, then renamed over, so that a kill loses at most this one."""
        lines = [*self.visits(), " ".join(guest.split())]
        beside = self.file.with_suffix(".new")
        beside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        beside.replace(self.file)
