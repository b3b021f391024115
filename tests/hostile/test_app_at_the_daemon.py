"""What a running app tries with the daemon, with `pearrt run`, and with whoever sits there."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pearrt.app import attend, desktop, picker
from pearrt.app.removal import remove_tree
from pearrt.app.start import Start
from pearrt.daemon import nearby
from pearrt.daemon.instance import Instance
from pearrt.daemon.patience import FIRST_PAUSE_S, FREE_NOES, LONGEST_PAUSE_S, Patience
from pearrt.daemon.proxy import Proxy
from pearrt.daemon.wire import Wire
from pearrt.errors import Denied, LimitExceeded
from pearrt.sandbox import bytecode
from pearrt.sandbox.policy import Permissions
from pearrt.sandbox.storage import used_bytes
from tests.support import sandboxed
from tests.support.require import require

# -- what it leaves in its storage


def test_folders_nested_past_any_path_and_stack_are_removed(tmp_path: Path) -> None:
    data, here = tmp_path / "data", os.getcwd()
    data.mkdir()
    try:
        os.chdir(data)
        for _ in range(3000):
            os.mkdir("deeper")
            os.chdir("deeper")
    finally:
        os.chdir(here)
    remove_tree(data)
    assert not data.exists()


def test_folders_closed_to_a_plain_user_are_removed(tmp_path: Path) -> None:
    """Root enters any folder, so this is another process."""
    source = (
        "import os, sys, pathlib\n"
        "from pearrt.app.removal import remove_tree\n"
        "top = pathlib.Path(sys.argv[1], 'data'); (top / 'a' / 'b').mkdir(parents=True)\n"
        "(top / 'a' / 'b' / 'file').touch()\n"
        "for folder in (top / 'a' / 'b', top / 'a', top): folder.chmod(0)\n"
        "remove_tree(top); print(top.exists())\n"
    )
    require("setpriv")
    with sandboxed.AppFolder({}, "user") as app:
        prefix = sandboxed.launcher_command("user")[:-2]
        said = subprocess.run(
            [*prefix, "-c", source, str(app.folder)],
            env=app.environ(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert said.stdout == "False\n", said.stderr


def test_a_link_swapped_in_while_the_storage_is_measured_tells_nothing_of_what_is_outside(
    tmp_path: Path,
) -> None:
    """Else an app would learn the size of every folder of the person's."""
    data, outside = tmp_path / "data", tmp_path / "outside"
    (data / "a" / "sub").mkdir(parents=True)
    (outside / "sub").mkdir(parents=True)
    (outside / "sub" / "file").write_bytes(bytes(range(256)) * 65536)
    swapper = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys\nos.chdir(sys.argv[1])\nwhile True:\n"
            "    os.rename('a', 'b'); os.symlink(sys.argv[2], 'a'); os.unlink('a'); os.rename('b', 'a')\n",
            str(data),
            str(outside),
        ]
    )
    try:
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            assert used_bytes(data) < 1 << 20
    finally:
        swapper.kill()
        swapper.wait()


@pytest.mark.sandbox
def test_source_that_compiles_to_far_more_is_stopped_and_asks_for_no_share_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is compiled before the person was asked. A `finally` is compiled twice, and so is what it holds."""
    source = "f(a, b, c, d)\n" * 40
    for _ in range(11):
        source = "try:\n  a()\nfinally:\n" + "".join(f"  {line}\n" for line in source.splitlines())
    small = Permissions(storage_bytes=4 << 20, memory_bytes=1 << 30, processors=1, processes=16)
    monkeypatch.setattr(bytecode, "SHARE", small)
    with sandboxed.AppFolder({f"m{n}.py": source for n in range(6)}, sandboxed.available_modes()[0]) as app:
        from pearrt.bundle.manifest import Entry, Manifest
        from pearrt.sandbox import service

        launch = service.Launch(
            bytes(32), Manifest("app", "1", Entry(file="m0.py")), app.app, app.data,
            Permissions(storage_bytes=1 << 40, memory_bytes=1 << 38), bytecode=app.folder / "bytecode",
        )  # fmt: skip
        assert not service.prepare(launch, runtime=app.runtime)
        assert list((app.folder / "bytecode").iterdir()) == []


# -- where it wants to be connected to

ROUTES = """Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 00000000 0101A8C0 0003 0 0 100 00000000 0 0 0
eth0 00D8B85D 00000000 0001 0 0 100 00FFFFFF 0 0 0
wgé 00000000 00000000 0001 0 0 0 00000080 0 0 0
"""
TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     |-- 5.6.7.8
        /32 host LOCAL
     |-- 6.7.8.9
        /32 link UNICAST
        /32 host LOCAL
"""
ADDRESSES = (
    "26064700aaaa0001021122fffe334455 02 40 00 80 eth0\n20000000000000000000000000000001 03 03 00 80 wg0\n"
)


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("93.184.216.34", True),
        ("93.184.217.34", False),
        ("8.8.8.8", False),
        ("5.6.7.8", True),
        ("6.7.8.9", True),
        ("0.0.0.0", False),
        ("2000::1", True),
        ("2000::2", False),
        ("2606:4700:aaaa:1::99", True),
        ("2606:4700:aaaa:2::99", False),
        ("2a00:1450::1", False),
    ],
)
@pytest.mark.skipif(
    sys.byteorder != "little", reason="not applicable: the table is of a little-endian machine"
)
def test_a_neighbour_with_a_public_address_is_near(tmp_path: Path, address: str, near: bool) -> None:
    for name, text in (("route", ROUTES), ("if_inet6", ADDRESSES), ("fib_trie", TRIE)):
        (tmp_path / name).write_text(text, "utf-8")  # as interfaces may be named
    assert nearby.is_near(address, tables=tmp_path) is near


ON_A_PUBLIC_ADDRESS = """
import asyncio, socket
from pearrt.app.start import Start
from pearrt.daemon.instance import Instance
from pearrt.daemon.proxy import Proxy
from pearrt.daemon.wire import Wire
from pearrt.errors import Denied
from pearrt.sandbox.policy import Permissions

async def main():
    server = await asyncio.start_server(lambda *_: print("REACHED"), "0.0.0.0", 8443)
    async def rebound(host, port): return ["93.184.216.34"]
    ours, _theirs = socket.socketpair()
    try:
        await Proxy(rebound).open(
            Instance(Start(bytes(32)), Wire(ours)), "app.example.com", 8443,
            Permissions(net_hosts=("app.example.com:8443",)))
    except Denied as e: print("denied")
    await asyncio.sleep(0.1)
asyncio.run(main())
"""


@pytest.mark.lab
def test_a_name_that_leads_to_this_machines_own_public_address_is_refused() -> None:
    """In a network of its own, whose machine has a public address, as one with IPv6 has at home."""
    require("unshare", "ip")
    if os.geteuid() != 0:
        pytest.skip("not applicable: needs root")
    setup = "ip link set lo up; ip addr add 93.184.216.34/32 dev lo; "
    said = subprocess.run(
        ["unshare", "--net", "sh", "-c", setup + 'exec "$0" -c "$1"', sys.executable, ON_A_PUBLIC_ADDRESS],
        capture_output=True, text=True, check=True, timeout=30,
        env={**os.environ, "NETGUARD_PLAYED": "93.184.216.34"},
    )  # fmt: skip
    assert said.stdout == "denied\n", said.stderr


async def test_names_that_are_never_answered_hold_up_their_own_app_only() -> None:
    waiting, most = 0, 0
    go_on = asyncio.Event()

    async def slow(host: str, port: int) -> list[str]:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await go_on.wait()
        waiting -= 1
        return []

    proxy, granted = Proxy(slow), Permissions(net_hosts=("app.example.com:443",))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        instance = Instance(Start(b"a" * 32), Wire(ours))
        calls = [
            asyncio.create_task(proxy.open(instance, "app.example.com", 443, granted)) for _ in range(16)
        ]
        await asyncio.sleep(0.05)
        assert most == 2
        go_on.set()
        ended = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(each, Denied) for each in ended)


# -- the person


def test_who_says_no_again_and_again_is_left_alone_longer_and_longer() -> None:
    patience, now, pauses = Patience(), 0.0, []
    for _ in range(20):
        patience.check(now)
        patience.told(False, now)
        pauses.append(patience.until - now if patience.until > now else 0.0)
        now = max(now, patience.until)
    assert pauses[: FREE_NOES + 1] == [0.0] * (FREE_NOES - 1) + [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S]
    assert pauses[-1] == LONGEST_PAUSE_S
    patience.told(False, now)
    with pytest.raises(LimitExceeded):
        patience.check(now)
    now = patience.until
    patience.told(True, now)
    patience.told(False, now)
    patience.check(now)


def test_one_question_at_a_time_and_no_queue_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = threading.Event(), threading.Event()

    def ask(question: str, *, timeout_s: float) -> bool:
        asked.set()
        return not answer.wait(10)

    monkeypatch.setattr("pearrt.app.terminal.ask", ask)
    attendance = attend.Attendance(None, "app")
    call = {"method": "open_url", "url": "https://example.com/"}
    first = threading.Thread(target=attendance._result_of, args=[call])
    first.start()
    assert asked.wait(10)
    assert isinstance(attendance._result_of(call), LimitExceeded)
    answer.set()
    first.join()


def test_a_long_address_does_not_push_its_host_off_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(question: str, *, timeout_s: float) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr("pearrt.app.terminal.ask", ask)
    url = "https://evil.example.net/" + "." * 1900 + "https://bank.example.com/"
    attend.Attendance(None, "app")._result_of({"method": "open_url", "url": url})
    assert "evil.example.net" in asked[0]
    assert "bank" not in asked[0]
    assert len(asked[0]) < 500


def test_a_notification_is_text_after_notify_send_has_undone_its_escapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "notify-send"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"open({str(tmp_path / 'got')!r}, 'w').write(json.dumps(sys.argv))\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    desktop.notify("app", "title", r"<b> \074a href=\042http://evil.example/\042\076 \\074")
    body = json.loads((tmp_path / "got").read_text())[-1]
    # g_strcompress(3), as libnotify's tools/notify-send.c has it for the body
    shown = re.sub(r"\\([0-7]{1,3})", lambda match: chr(int(match[1], 8)), body).replace("\\\\", "\\")
    assert not set("<>") & set(shown)


def test_the_dialog_for_opening_has_chosen_nothing_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[list[str]] = []
    monkeypatch.setenv("DISPLAY", ":9")
    monkeypatch.setattr(picker.shutil, "which", lambda name: name)
    monkeypatch.setattr(picker, "_shown", lambda command: shown.append(command) or "/tmp/x")
    picker.choose("app", "Your table", picker.READ, "passwords.kdbx")
    picker.choose("app", "Your table", picker.SAVE, "plot.svg")
    assert "passwords" not in " ".join(shown[0])
    assert "plot.svg" in " ".join(shown[1])
