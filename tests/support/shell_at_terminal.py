"""A person at a shell with job control, at a terminal of their own."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shlex
import signal
import termios
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.sandboxed import AppFolder

PROMPT = "ready> "
START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "sh": ["sh", "-i"],
}


class Shell:
    """What is typed goes to `fd`; what was shown and not yet asked for is in `seen`."""

    def __init__(self, pid: int, fd: int) -> None:
        self.pid, self.fd, self.seen = pid, fd, ""

    def until(self, text: str, timeout_s: float = 20) -> str:
        """What was shown up to `text`, since the last time."""
        deadline = time.monotonic() + timeout_s
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"no {text!r} in {self.seen[-2000:]!r}"
            assert select.select([self.fd], [], [], left)[0], f"no {text!r} in {self.seen[-2000:]!r}"
            self.seen += os.read(self.fd, 65536).decode(errors="replace")
        before, _, self.seen = self.seen.partition(text)
        return before

    def quiet_for(self, seconds: float) -> str:
        """What is shown within that time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                self.seen += os.read(self.fd, 65536).decode(errors="replace")
        return self.seen

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def do(self, line: str) -> str:
        """Types a line at the prompt; what is shown until the next prompt, without the echo."""
        self.type(line + "\n")
        return self.until(PROMPT).partition("\n")[2]

    def mode(self) -> list:
        """Of the terminal, without what the shell itself changes while it edits a line."""
        return termios.tcgetattr(self.fd)

    def raw(self) -> bool:
        return not self.mode()[3] & termios.ICANON

    def await_mode(self, *, raw: bool) -> None:
        deadline = time.monotonic() + 10
        while self.raw() != raw:
            assert time.monotonic() < deadline, "the terminal's mode did not change"
            time.sleep(0.01)


@contextlib.contextmanager
def shell(app: AppFolder, name: str = "bash", /, **commands: dict) -> Iterator[Shell]:
    """A shell whose `app` starts main.py of that app; so does each of `commands`, with its changes. Neither
    edits lines, so that the mode of the terminal at the prompt is the person's."""
    folder = app.folder / "bin"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    for command, changes in {"app": {}, **commands}.items():
        script = folder / command
        script.write_text(f'#!/bin/sh\nexec {shlex.join(app.command(**changes))} "$@"\n')
        script.chmod(0o755)
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(
            app.environ() | {"PATH": f"{folder}:{os.environ['PATH']}", "PS1": PROMPT, "ENV": ""}
        )
        editing = ["--noediting"] if name == "bash" else []
        os.execvp(START[name][0], [START[name][0], *editing, *START[name][1:]])
    termios.tcsetwinsize(fd, (24, 80))
    person = Shell(pid, fd)
    try:
        person.until(PROMPT)
        yield person
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def launchers(app: AppFolder) -> list[int]:
    """Process ids of what started that app: those with its folder in their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes()
            if str(app.app).encode() in words and re.search(rb"python", words.split(b"\0")[0]):
                found.append(int(path.name))
    return found


def cpu_s(pid: int) -> float:
    """Processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
