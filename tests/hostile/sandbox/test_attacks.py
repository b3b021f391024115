"""The attack corpus: each attack is first shown to succeed outside the sandbox on this kernel, then to fail
inside.

`attacks.py` holds the attacks. They run once per world (outside, inside) and launcher (root, a plain user);
the tests below judge one attack each. An attack that fails outside as well says nothing and is reported as
not applicable.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from tests.hostile.sandbox.attacks import ATTACKS
from tests.support import sandboxed
from tests.support.require import missing, require

pytestmark = pytest.mark.sandbox
SOURCE = (Path(__file__).parent / "attacks.py").read_text()
# Layers that a machine may lack, and what an app can do there. With all layers: nothing of the list.
# Native code is no boundary on any tier.
WITHOUT: dict[str, tuple[str, ...]] = {"full": (), "without Landlock": ("landlock", "cgroup")}
ALLOWED = {("execute_from_the_data_folder", "without Landlock")}


@contextlib.contextmanager
def surroundings(app: sandboxed.AppFolder) -> Iterator[tuple[dict, tuple[int, ...], dict[str, str]]]:
    """A victim process, listening sockets, a secret file, leaked descriptors and a secret environment
    variable.
    """
    token = f"secret-{secrets.token_hex(8)}"
    home = app.folder / "home" / ".ssh"
    home.mkdir(parents=True)
    secret = home / "id_ed25519"
    secret.write_text(token)
    marker = f"victim-{token[-6:]}"
    as_user = app.mode == "user" and os.geteuid() == 0
    with contextlib.ExitStack() as stack:
        leaked = [os.open(path, os.O_RDONLY) for path in (secret, "/")]
        for fd in leaked:
            stack.callback(os.close, fd)
        prefix = sandboxed.as_nobody() if as_user else []
        victim = stack.enter_context(
            subprocess.Popen([*prefix, "/bin/sh", "-c", f": {marker}; read line"], stdin=subprocess.PIPE)
        )
        stack.callback(victim.kill)
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        targets = {
            "secret": str(secret), "token": token, "victim": victim.pid, "marker": marker,
            "bus": f"{app.folder}/bus",
            "tcp_port": tcp.getsockname()[1], "abstract": f"pearrt-{token}",
        }  # fmt: skip
        listeners = (
            (socket.SOCK_STREAM, targets["bus"]),
            (socket.SOCK_STREAM, "\0" + targets["abstract"]),
            (socket.SOCK_STREAM, f"{app.data}/stream.sock"),
        )
        for kind, address in (*listeners, (socket.SOCK_DGRAM, f"{app.data}/datagram.sock")):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
            listener.bind(address)
            if kind == socket.SOCK_STREAM:
                listener.listen(64)
            if not address.startswith("\0"):
                os.chmod(address, 0o777)
        yield targets, tuple(leaked), {"SECRET_VARIABLE": token}


@lru_cache(maxsize=8)
def outcome(mode: str, layers: str | None) -> dict[str, dict]:
    """Attack name -> what came of it, outside (None) or with these layers."""
    require("bwrap", "setpriv")
    if mode == "user" and not sandboxed.user_interpreter():
        missing("needs a Python that a plain user can start")
    with (
        sandboxed.AppFolder({"attacks.py": SOURCE}, mode) as app,
        surroundings(app) as (targets, leaked, extra),
    ):
        if mode == "user" and os.geteuid() == 0:
            os.chown(app.app / "attacks.py", sandboxed.NOBODY, sandboxed.NOBODY)
        if layers is not None:
            told = targets | {"app": "/app", "data": "/data"}
            command = app.command(entry="attacks:main", argv=[json.dumps(told)], without=WITHOUT[layers])
        else:
            told = targets | {"app": str(app.app), "data": str(app.data)}
            prefix = sandboxed.as_nobody() if mode == "user" and os.geteuid() == 0 else []
            python = sandboxed.user_interpreter() if prefix else sys.executable
            command = [*prefix, python, "-B", str(app.app / "attacks.py"), json.dumps(told)]
        done = subprocess.run(
            command, env=app.environ() | extra, capture_output=True, pass_fds=leaked, timeout=120,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert sorted(result["name"] for result in found) == sorted(ATTACKS)
        return {result["name"]: result for result in found}


@pytest.mark.parametrize("layers", WITHOUT)
@pytest.mark.parametrize("mode", sandboxed.available_modes())
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_that_works_outside_fails_inside(name: str, mode: str, layers: str) -> None:
    inside = outcome(mode, layers)[name]
    assert "gained" not in inside or (name, layers) in ALLOWED, inside
    outside = outcome(mode, None)[name]
    if "refused" in outside:
        pytest.skip(f"not applicable here: fails outside too ({outside['refused']})")
