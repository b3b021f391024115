"""Another user of the machine is turned away from a page, although they can see its address."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from pearrt.web import visitor
from pearrt.web.service import MAX_CONNECTIONS, Page, PageServer
from tests.support import sandboxed
from tests.support.browser import Browser
from tests.support.require import missing, require, require_root

LINE = "  0: 0100007F:1F90 0100007F:0050 01 00000000:00000000 00:00000000 00000000  {uid}        0 1 1 x\n"


def table(tmp_path: Path, *lines: str) -> dict[int, str]:
    path = tmp_path / "tcp"
    path.write_text("  sl  local_address rem_address   st tx_queue\n" + "".join(lines))
    return {socket.AF_INET: str(path), socket.AF_INET6: str(path)}


def test_the_owner_is_the_one_of_the_visitors_own_end(tmp_path: Path) -> None:
    other_end = "  1: 0100007F:0050 0100007F:1F90 01 0:0 00:0 0  7        0 1 1 x\n"
    tables = table(tmp_path, other_end, LINE.format(uid=1234))
    assert visitor.uid_of(("127.0.0.1", 8080), ("127.0.0.1", 80), tables=tables) == 1234
    assert visitor.uid_of(("127.0.0.1", 80), ("127.0.0.1", 8080), tables=tables) == 7
    assert visitor.uid_of(("127.0.0.1", 8080), ("127.0.0.1", 81), tables=tables) is None


@pytest.mark.parametrize("lines", ["", "rubbish\n", LINE.format(uid="x")])
def test_who_cannot_be_looked_up_is_nobody(tmp_path: Path, lines: str) -> None:
    tables = table(tmp_path, lines)
    assert not visitor.is_ours(("127.0.0.1", 8080), ("127.0.0.1", 80), tables=tables)
    nowhere = {socket.AF_INET: "/nowhere"}
    assert not visitor.is_ours(("127.0.0.1", 8080), ("127.0.0.1", 80), tables=nowhere)


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_real_connection_is_found(family: int, host: str) -> None:
    try:
        server = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"not applicable: this machine has no {host}")
    with server, socket.create_connection(server.getsockname()[:2]) as client:
        ends = client.getsockname()[:2], client.getpeername()[:2]
        assert visitor.uid_of(*ends) == os.geteuid()
        assert visitor.is_ours(*ends)


def test_another_user_with_address_and_cookie_gets_nothing(tmp_path: Path) -> None:
    require_root()
    require("setpriv")
    if not (python := sandboxed.user_interpreter()):
        missing("needs a Python that a plain user can start")
    ask = (
        "import http.client, sys\n"
        "c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]))\n"
        "try:\n"
        "    c.request('GET', sys.argv[3], headers={'Host': sys.argv[2], 'Cookie': sys.argv[4]})\n"
        "    print(c.getresponse().status)\n"
        "except (ConnectionError, http.client.BadStatusLine): print('closed')\n"
    )
    with PageServer(Page()) as server:
        browser = Browser(server.url)
        command = [*sandboxed.as_nobody(), python, "-c", ask, str(browser.port), browser.host]
        for path, cookie in ((browser.path, "a=b"), ("/.pearrt/bridge.js", f"pearrt={server.door.secret}")):
            done = subprocess.run([*command, path, cookie], capture_output=True, text=True, check=True)
            assert done.stdout == "closed\n"
        assert browser.enter().status == 303  # the token was not used up
        assert browser.get("/.pearrt/bridge.js").status == 200


def test_another_user_cannot_take_up_all_connections() -> None:
    require_root()
    require("setpriv")
    if not (python := sandboxed.user_interpreter()):
        missing("needs a Python that a plain user can start")
    hold = (
        "import socket, sys\n"
        "there = ('127.0.0.1', int(sys.argv[1]))\n"
        f"held = [socket.create_connection(there) for _ in range({2 * MAX_CONNECTIONS})]\n"
        "held[-1].recv(1)  # closed, so the server has seen them all\n"
        "print('held', flush=True); sys.stdin.read()\n"
    )
    with PageServer(Page()) as server:
        browser = Browser(server.url)
        pipe = subprocess.PIPE
        with subprocess.Popen(
            [*sandboxed.as_nobody(), python, "-c", hold, str(browser.port)], stdin=pipe, stdout=pipe
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            assert browser.enter().status == 303
