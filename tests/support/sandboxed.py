"""Small apps in the real sandbox, started by a process of their own: as root, or as a user without rights.

As a module: `AppFolder` makes an app and starts it. As a program (`python sandboxed.py SPEC`, SPEC in JSON):
the launcher, what `pearrt run` is to an app.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
RUN_TIMEOUT_S = 60
MODES = ("root", "user")


def available_modes() -> list[str]:
    """`root` and `user` for root, else `user` alone."""
    return list(MODES) if os.geteuid() == 0 else ["user"]


def user_interpreter() -> str:
    """A Python that a user without rights can start: this one, or the system's where this one is root's
    own.
    """
    own = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    if os.geteuid() != 0:
        return sys.executable
    for path in (own, "/usr/bin/python3"):
        new_enough = (
            "import os, sys; sys.exit(sys.version_info < (3, 11) or not os.path.exists(sys.executable))"
        )
        check = [*as_nobody(), path, "-c", new_enough]  # an unreadable interpreter starts, then finds nothing
        if os.path.exists(path) and subprocess.run(check, capture_output=True, check=False).returncode == 0:
            return path
    return ""


def as_nobody() -> list[str]:
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]


def launcher_command(mode: str) -> list[str]:
    """The start of a command line whose last word is the SPEC."""
    if mode == "root" or os.geteuid() != 0:
        return [sys.executable, "-B", __file__]
    return [*as_nobody(), user_interpreter(), "-B", __file__]


class AppFolder:
    """An app with its folders, removed at the end. `files` maps names to source text."""

    def __init__(self, files: dict[str, str], mode: str, *, readable: bool = True) -> None:
        self.mode = mode
        self.folder = Path(tempfile.mkdtemp(prefix="pearrt-app-", dir="/tmp"))
        self.folder.chmod(0o755 if readable else 0o700)
        self.app, self.data, self.runtime = (self.folder / name for name in ("app", "data", "run"))
        for folder in (self.app, self.data, self.runtime):
            folder.mkdir()
            folder.chmod(0o755 if folder == self.app else 0o700)
        for name, text in files.items():
            path = self.app / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(0o644)
        if mode == "user" and os.geteuid() == 0:
            for folder in (self.folder, self.app, self.data, self.runtime):
                os.chown(folder, NOBODY, NOBODY)

    def __enter__(self) -> AppFolder:
        return self

    def __exit__(self, *exc: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def spec(self, **changes: Any) -> str:
        """What the launcher is told."""
        plain: dict[str, Any] = {
            "folder": str(self.app), "data": str(self.data), "runtime": str(self.runtime), "entry": "main.py",
            "argv": [], "env": {}, "path": ["."], "permissions": {}, "channel_fd": None, "name": "app",
            "bytecode": None, "prepare": False, "without": [], "kind": "python", "ui_fd": None, "backend": "",
        }  # fmt: skip
        return json.dumps(plain | changes)

    def command(self, **changes: Any) -> list[str]:
        return [*launcher_command(self.mode), self.spec(**changes)]

    def environ(self) -> dict[str, str]:
        search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        return {**os.environ, "PYTHONPATH": search}

    def run(
        self, stdin: bytes = b"", pass_fds: tuple[int, ...] = (), **changes: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Starts the launcher, waits for its end."""
        return subprocess.run(
            self.command(**changes), env=self.environ(), input=stdin, capture_output=True, pass_fds=pass_fds,
            timeout=RUN_TIMEOUT_S, check=False,
        )  # fmt: skip

    def start(self, **changes: Any) -> subprocess.Popen[bytes]:
        """The launcher as a running process with pipes."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.command(**changes), env=self.environ(), stdin=pipe, stdout=pipe, stderr=pipe
        )


def launch(spec: dict[str, Any]) -> int:
    """What `pearrt run` does, without a daemon."""
    from pearrt.bundle.manifest import Entry, Manifest
    from pearrt.errors import PearrtError
    from pearrt.sandbox import service
    from pearrt.sandbox.policy import Permissions
    from pearrt.sandbox.process import Sandbox

    manifest = Manifest(
        name=spec["name"], version="1", entry=Entry.parse(spec["entry"], spec["kind"]),
        path=tuple(spec["path"]), permissions=spec["permissions"], kind=spec["kind"],
        backend=Entry.parse(spec["backend"]) if spec["backend"] else None,
    )  # fmt: skip
    try:
        told = service.Launch(
            app_key=bytes(32), manifest=manifest, folder=Path(spec["folder"]), data=Path(spec["data"]),
            permissions=Permissions.parse(spec["permissions"]), argv=tuple(spec["argv"]), env=spec["env"],
            channel_fd=spec["channel_fd"], ui_fd=spec["ui_fd"],
            bytecode=Path(spec["bytecode"]) if spec["bytecode"] else None,
        )  # fmt: skip
        if spec["prepare"]:
            return 0 if service.prepare(told, runtime=Path(spec["runtime"])) else 1
        if spec["without"]:  # as on a machine that lacks these layers
            return Sandbox(
                told, service.probe(runtime=Path(spec["runtime"])).held - set(spec["without"])
            ).run()
        return service.run(told, runtime=Path(spec["runtime"]))
    except PearrtError as e:
        sys.stderr.write(f"{e.code}: {e.message} {e.hint}\n")
        return 200 + e.exit_code


if __name__ == "__main__":
    sys.exit(launch(json.loads(sys.argv[1])))
