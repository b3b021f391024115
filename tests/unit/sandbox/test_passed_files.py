"""A file that was handed into the sandbox is not opened anew with more than was given: in the real one, with
and without Landlock. A plain descriptor, handed in beside it, shows what would go otherwise."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from pearrt.app.opening import open_chosen
from tests.support.require import require
from tests.support.sandboxed import NOBODY, AppFolder, available_modes

pytestmark = pytest.mark.sandbox

TRY = """
import json, os, socket
channel = socket.socket(fileno=int(os.environ["PEARRT_CHANNEL_FD"]))
_, (given, saved, plain), _, _ = socket.recv_fds(channel, 1, 3)

def tried(fd):
    found = {}
    def attempt(name, call):
        try:
            call()
            found[name] = True
        except OSError:
            found[name] = False
    attempt("write", lambda: os.write(fd, b"x"))
    attempt("read", lambda: os.read(fd, 1))
    attempt("reopen to write", lambda: os.write(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY), b"x"))
    attempt("reopen to read", lambda: os.read(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY), 1))
    attempt("truncate", lambda: os.truncate(f"/proc/self/fd/{fd}", 0))
    attempt("chmod", lambda: os.fchmod(fd, 0o777))
    attempt("setuid", lambda: os.fchmod(fd, 0o4755))
    attempt("setgid", lambda: os.chmod(f"/proc/self/fd/{fd}", 0o2755))
    attempt("utime", lambda: os.utime(fd, (0, 0)))
    attempt("link", lambda: os.link(f"/proc/self/fd/{fd}", "/data/linked", follow_symlinks=True))
    attempt("list", lambda: os.listdir(f"/proc/self/fd/{fd}/.."))
    return found

print(json.dumps({"given": tried(given), "saved": tried(saved), "plain": tried(plain)}))
"""


@pytest.mark.parametrize("mode", available_modes())
@pytest.mark.parametrize("without", [[], ["landlock"]], ids=["tier A or B", "tier C"])
def test_a_file_that_was_handed_in_gives_no_more_than_was_given(
    mode: str, without: list[str], tmp_path: Path
) -> None:
    require("bwrap", "setpriv")
    paths = [tmp_path / name for name in ("given", "saved", "plain")]
    for path in paths:
        path.write_text("kept")
        if mode == "user" and os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
    ours, theirs = socket.socketpair()
    with ours, theirs, AppFolder({"main.py": TRY}, mode) as app:
        fds = [open_chosen(str(paths[0]), "read"), open_chosen(str(paths[1]), "save")]
        fds.append(os.open(paths[2], os.O_RDONLY))
        socket.send_fds(ours, [b"+"], fds)
        for fd in fds:
            os.close(fd)
        done = app.run(channel_fd=theirs.fileno(), pass_fds=(theirs.fileno(),), without=without)
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert found["given"].pop("read") is True
    allowed_again = {name for name, worked in found["given"].items() if worked}
    assert allowed_again <= {"reopen to read"}
    assert paths[0].read_text() == "kept"
    assert found["saved"]["write"] is True
    assert not any(found["saved"][name] for name in ("read", "setuid", "setgid", "link", "list"))
    if mode == "user":
        assert found["plain"]["chmod"] is True  # what the read-only mount is for
        assert found["plain"]["reopen to write"] is bool(without)  # what Landlock bars where there is one
