"""A publishing team for end-to-end tests: key files with cheap passwords, an app, releases through the
commands."""

from __future__ import annotations

from pathlib import Path

from pearrt.crypto.keyfile import Argon2Cost
from pearrt.publish.keys import new_key
from tests.support.machine import Machine

PASSWORD = "test password"
CHEAP = Argon2Cost(ops=1, memory_bytes=8 << 20)
NAMES = ("alice", "bob", "carol", "dana", "erin")


class Team:
    """Five signers on one machine; `threshold` of them control `link`. `more` goes to `app new`."""

    def __init__(self, machine: Machine, work: Path, threshold: int = 3, *more: str) -> None:
        self.machine = machine
        self.work = work
        self.password_file = work / "password"
        self.password_file.write_text(PASSWORD + "\n")
        for name in NAMES:
            new_key(machine.home.keys, name, PASSWORD, cost=CHEAP)
        options = [
            "--signers",
            ",".join(NAMES),
            "--threshold",
            str(threshold),
            *self.keys(*NAMES[:threshold]),
            *more,
        ]
        self.link: str = machine.ok("app", "new", *options)["link"]

    def keys(self, *names: str) -> list[str]:
        keys = [part for name in names for part in ("--key", name)]
        return [*keys, "--password-file", str(self.password_file)]

    def stage(self, folder: Path, *options: str) -> str:
        digest: str = self.machine.ok("stage", str(folder), *options)["digest"]
        return digest

    def release(self, digest: str, *signers: str, version: str | None = None) -> None:
        versions = ["--version", version] if version else []
        self.machine.ok(
            "release", "publish", self.link, digest, *versions, *self.keys(*(signers or NAMES[:3]))
        )


def write_app(folder: Path, text: str = "hello from the app", **files: bytes) -> Path:
    """A tiny app that prints `text` and its arguments; extra files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hello.py").write_text(
        f"import sys\n\n\ndef main():\n    print({text!r}, *sys.argv[1:], flush=True)\n"
    )
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "hello"\nversion = "1.0"\n\n[tool.pearrt]\nentry = "hello:main"\n'
    )
    return folder
