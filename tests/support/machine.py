"""One machine of an end-to-end test: a PEARRT_HOME of its own, driven by the installed commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pearrt.daemon.caller import Daemon
from pearrt.link import Link
from pearrt.paths import Home

PEARRT = [sys.executable, "-m", "pearrt"]
COMMAND_TIMEOUT_S = 120


class CommandFailed(AssertionError):
    """A command ended with another exit code than expected."""


class Machine:
    """`pearrt(*args)` runs a command as a person would; `ok` parses the envelope of its `--json`."""

    def __init__(
        self, home: Home, bootstrap: str = "", *, prefix: tuple[str, ...] = (), **settings: str
    ) -> None:
        self.home = home
        self.typed: list[list[str]] = []  # every command, word by word
        self.prefix = prefix  # ("ip", "netns", "exec", …) puts its commands into a namespace
        self.environ = {
            key: value for key, value in os.environ.items() if not key.startswith("PEARRT_LISTEN")
        }
        self.environ |= {
            "PEARRT_HOME": str(home.data),
            "PEARRT_LISTEN": "127.0.0.1:0",
            "PEARRT_MDNS": "off",
            "PEARRT_BOOTSTRAP": bootstrap or "none",
            **settings,
        }

    def put_program(self, folder: Path, name: str, script: str) -> None:
        """Its commands find this shell script in the folder before any other program of that name."""
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
        self.environ["PATH"] = f"{folder}:{self.environ['PATH']}"

    @property
    def daemon(self) -> Daemon:
        return Daemon(self.home, environ=self.environ)

    def pearrt(self, *args: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        self.typed.append([*map(str, args)])
        return subprocess.run(
            [*self.prefix, *PEARRT, *map(str, args)],
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )

    def ok(self, *args: str | Path) -> Any:
        """The result of a command that must succeed."""
        done = self.pearrt(args[0], *_json_last(args))
        if done.returncode != 0:
            raise CommandFailed(
                f"{args} ended with {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.log()}"
            )
        return json.loads(done.stdout)["result"]

    def refused(self, *args: str | Path) -> dict[str, str]:
        """The error of a command that must fail."""
        done = self.pearrt(args[0], *_json_last(args))
        if done.returncode == 0:
            raise CommandFailed(f"{args} succeeded\n{done.stdout}")
        line = done.stdout.strip() or done.stderr.strip().splitlines()[-1]
        error: dict[str, str] = json.loads(line)["error"]
        return error

    def run(self, link: str, *args: str, options: tuple[str, ...] = ("--yes",), stdin: str = "") -> str:
        """What the app printed; it must end with 0."""
        done = self.pearrt("run", *options, link, *args, stdin=stdin)
        if done.returncode != 0:
            raise CommandFailed(
                f"run ended with {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.log()}"
            )
        return done.stdout

    def info(self, link: str) -> dict[str, Any]:
        return self.daemon.info(Link.parse(link))

    def log(self) -> str:
        return self.home.log.read_text()[-3000:] if self.home.log.exists() else ""

    def pid(self) -> int:
        return int(self.daemon.status()["pid"])

    def kill(self) -> None:
        """kill -9 of the daemon, and waits until it is gone."""
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self.daemon.running(), "the daemon to die")

    def stop(self) -> None:
        if self.daemon.running():
            self.daemon.stop()
            wait_for(self.daemon.ended, "the daemon to end")


def _json_last(args: tuple[str | Path, ...]) -> list[str | Path]:
    """The arguments with --json, which must stand before the link for `run`: what follows that is the
    app's."""
    return ["--json", *args[1:]] if args[0] == "run" else [*args[1:], "--json"]


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
    """Polls, for things that other processes do; fails the test when it takes too long."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(0.05)
