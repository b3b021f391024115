"""A person at a terminal of their own, in front of `pearrt run`."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator

from tests.support.machine import PEARRT, Machine
from tests.support.team import Team


class Terminal:
    """A person at a pseudo-terminal."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        self.process, self.fd, self.seen = process, fd, ""

    def until(self, text: str, timeout_s: float = 30) -> str:
        """What was shown up to `text`, since the last time."""
        deadline = time.monotonic() + timeout_s
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 4096).decode(errors="replace")
                except OSError:
                    break
        before, found, self.seen = self.seen.partition(text)
        assert found, before
        return before

    def shown_for(self, seconds: float) -> str:
        """What comes within that time, after what was asked for last."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                self.seen += os.read(self.fd, 4096).decode(errors="replace")
        return self.seen

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())


def publish(team: Team, body: str, version: str, permissions: str) -> None:
    """A release of an app whose main() is in `body`, or is it."""
    folder = team.work / "app"
    folder.mkdir(exist_ok=True)
    (folder / "asks.py").write_text(body if "def main" in body else f"def main():\n    {body}\n")
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "asks"\nversion = "{version}"\n[tool.pearrt]\nentry = "asks:main"\n'
        f"[tool.pearrt.permissions]\n{permissions}\n"
    )
    team.machine.ok("release", "publish", team.link, team.stage(folder), *team.keys("alice"))


@contextlib.contextmanager
def at_terminal(machine: Machine, *arguments: str) -> Iterator[Terminal]:
    """`pearrt run` with a terminal of its own."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", *PEARRT, "run", *arguments],
        env=machine.environ, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
