"""The attack corpus as data, and the worlds it is tried in.

A world is who starts the app (root, a plain user) and a tier: the layers that are left out, as on a machine
that lacks them. `outcome` runs all attacks in one world once and remembers what came of each.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path

from tests.support import sandboxed
from tests.support.require import missing, require

HERE = Path(__file__).parent
SOURCES = {f"attacks/{path.name}": path.read_text() for path in sorted((HERE / "attacks").glob("*.py"))}
START = SOURCES.pop("attacks/start.py")
sys.path.insert(0, str(HERE))  # the attacks import each other as they do in the app
from attacks.harness import ATTACKS  # noqa: E402
from attacks.start import THEMES  # noqa: E402

sys.path.remove(str(HERE))

# The layers that a tier goes without. Tiers D and E start nothing: `tests/unit/sandbox/test_refusal.py`.
TIERS: dict[str, tuple[str, ...]] = {"A": (), "B": ("cgroup",), "C": ("landlock", "cgroup")}
# What Landlock alone holds. Native code is no boundary; a file that the person gives as standard input can be
# opened anew where it is the app's user's too, that is, where a plain user starts it.
ALLOWED = {("execute_from_the_data_folder", "C"), ("write_the_file_that_it_was_given_to_read", "C")}


# The leader of the session at a terminal, its standard error; its arguments are a job in the background.
LEADER = """
import fcntl, subprocess, sys, termios
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
sys.exit(subprocess.run(sys.argv[1:], process_group=0, close_fds=False).returncode)
"""


def themes() -> Iterator[tuple[str, list[str]]]:
    """The names of the attacks by theme, in the order in which they are tried."""
    for theme, module in THEMES.items():
        yield theme, [name for name, attack in ATTACKS.items() if attack.__module__ == module.__name__]


def worlds() -> list[tuple[str, str]]:
    """(who starts it, tier); a plain user here may have no cgroup, and so no tier A."""
    return [(mode, tier) for mode in sandboxed.available_modes() for tier in TIERS]


@contextlib.contextmanager
def surroundings(app: sandboxed.AppFolder) -> Iterator[tuple[dict, tuple[int, ...], dict[str, str]]]:
    """A victim process, listening sockets, a secret file, leaked descriptors and an environment full of
    things to find.
    """
    token = f"secret-{secrets.token_hex(8)}"
    home = app.folder / "home" / ".ssh"
    home.mkdir(parents=True)
    secret = home / "id_ed25519"
    secret.write_text(token)
    given = app.folder / "input"
    given.write_text("what the person pipes in")
    marker = f"victim-{token[-6:]}"
    as_user = app.mode == "user" and os.geteuid() == 0
    if as_user:
        for path in (app.folder / "home", home, secret, given):
            os.chown(path, sandboxed.NOBODY, sandboxed.NOBODY)
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
            "bus": f"{app.folder}/bus", "planted": f"{app.folder}/planted",
            "input": str(given), "tcp_port": tcp.getsockname()[1], "abstract": f"pearrt-{token}",
        }  # fmt: skip
        _listen(stack, app, targets)
        environ = {"SECRET_VARIABLE": token, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={targets['bus']}"}
        environ |= dict.fromkeys(("LD_LIBRARY_PATH", "PYTHONSTARTUP", "BASH_ENV"), targets["planted"])
        yield targets, tuple(leaked), environ


def _listen(stack: contextlib.ExitStack, app: sandboxed.AppFolder, targets: dict) -> None:
    """Sockets of the machine, and two that someone left where the app can see them."""
    for kind, address in (
        (socket.SOCK_STREAM, targets["bus"]),
        (socket.SOCK_STREAM, "\0" + targets["abstract"]),
        (socket.SOCK_STREAM, f"{app.data}/stream.sock"),
        (socket.SOCK_DGRAM, f"{app.data}/datagram.sock"),
    ):
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
        listener.bind(address)
        if kind == socket.SOCK_STREAM:
            listener.listen(64)
        if not address.startswith("\0"):
            os.chmod(address, 0o777)


@contextlib.contextmanager
def persons_terminal() -> Iterator[int]:
    """A terminal into which a person types all the time."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    ended = threading.Event()

    def person() -> None:
        while not ended.wait(0.02):
            for act in (partial(os.write, ours, b"typed\n"), partial(os.read, ours, 65536)):
                with contextlib.suppress(OSError):
                    act()

    typing = threading.Thread(target=person)
    typing.start()
    try:
        yield theirs
    finally:
        ended.set()
        typing.join()
        os.close(theirs)
        os.close(ours)


@lru_cache(maxsize=16)
def outcome(mode: str, tier: str | None) -> dict[str, dict]:
    """Attack name -> what came of it, outside (None) or on this tier."""
    require("bwrap", "setpriv")
    if mode == "user" and not sandboxed.user_interpreter():
        missing("needs a Python that a plain user can start")
    with (
        sandboxed.AppFolder({**SOURCES, "start.py": START}, mode) as app,
        surroundings(app) as (targets, leaked, extra),
        persons_terminal() as terminal,
    ):
        targets["terminal"] = os.fstat(terminal).st_rdev
        (app.app / "attacks").chmod(0o755)
        if mode == "user" and os.geteuid() == 0:
            for path in app.app.rglob("*"):
                os.chown(path, sandboxed.NOBODY, sandboxed.NOBODY)
        if tier is not None:
            told = targets | {"app": "/app", "data": "/data"}
            command = app.command(entry="start.py", argv=[json.dumps(told)], without=TIERS[tier])
        else:
            told = targets | {"app": str(app.app), "data": str(app.data)}
            prefix = sandboxed.as_nobody() if mode == "user" and os.geteuid() == 0 else []
            python = sandboxed.user_interpreter() if prefix else sys.executable
            command = [*prefix, python, "-B", str(app.app / "start.py"), json.dumps(told)]
        with open(targets["input"], "rb") as given:
            done = subprocess.run(
                [sys.executable, "-c", LEADER, *command], env=app.environ() | extra, pass_fds=leaked,
                stdin=given, stdout=subprocess.PIPE, stderr=terminal, start_new_session=True,
                timeout=120, check=False,
            )  # fmt: skip
        assert done.returncode == 0
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert sorted(result["name"] for result in found) == sorted(ATTACKS)
        return {result["name"]: result for result in found}
