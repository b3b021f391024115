"""One signer of a ceremony in end-to-end tests: a machine of their own, with a key wherever they keep it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pearrt.crypto.keyfile import Argon2Cost
from pearrt.publish.keys import new_key
from tests.support.machine import Machine

PASSWORD = "test password"
CHEAP = Argon2Cost(ops=1, memory_bytes=8 << 20)


@dataclass
class SignerMachine:
    """`public` is a file to hand out; `how` are the options of `release sign` that reach the key."""

    name: str
    machine: Machine
    folder: Path
    public: Path = field(init=False)
    how: tuple[str, ...] = ()

    def make_key(self) -> SignerMachine:
        """An encrypted key file."""
        self.folder.mkdir()
        new_key(self.machine.home.keys, self.name, PASSWORD, cost=CHEAP)
        (self.folder / "password").write_text(PASSWORD + "\n")
        self.public = self.folder / f"{self.name}.pub"
        shutil.copy(self.machine.home.keys / f"{self.name}.pub", self.public)
        self.how = ("--key", self.name, "--password-file", str(self.folder / "password"))
        return self

    def make_agent_key(self, agent: Path) -> SignerMachine:
        """A key made by ssh-keygen that only the agent at this socket holds, from now on."""
        self.folder.mkdir()
        secret = self.folder / "id_ed25519"
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", str(secret)]
        subprocess.run(command, check=True)
        environ = os.environ | {"SSH_AUTH_SOCK": str(agent)}
        subprocess.run(["ssh-add", "-q", str(secret)], check=True, env=environ, stderr=subprocess.DEVNULL)
        secret.unlink()
        self.public = secret.with_suffix(".pub")
        self.machine.environ["SSH_AUTH_SOCK"] = str(agent)
        self.how = ("--ssh-agent",)
        return self

    def review(self, request: Path, *options: str | Path) -> dict[str, Any]:
        """The review of a request that reached this machine."""
        reviewed: dict[str, Any] = self.machine.ok("release", "review", str(request), *options)
        return reviewed

    def sign(self, request: Path, *options: str) -> str:
        """The answer, as a line."""
        target = self.folder / f"{request.stem}.answer"
        signed = self.machine.ok("release", "sign", str(request), *self.how, *options, "-o", str(target))
        assert target.read_text() == signed["answer"] + "\n"
        return str(signed["answer"])
