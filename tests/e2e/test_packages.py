"""Programs from PyPI as apps: staged by name with their packages, started in the sandbox as they are. Their
wheels were downloaded before: see `tests/support/packages.py`."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import socket
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pearrt.app import pages
from pearrt.publish.stage import Prepared, from_project, from_pypi
from pearrt.sandbox import service
from pearrt.sandbox.launch import Launch
from pearrt.sandbox.policy import Permissions
from tests.support import sandboxed
from tests.support.browser import Browser
from tests.support.packages import only_downloaded, pin
from tests.support.require import require

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]
EXAMPLES = Path(__file__).parents[2] / "examples"
MODE = "root" if os.geteuid() == 0 else "user"


@pytest.fixture
def wheels(monkeypatch: pytest.MonkeyPatch) -> Path:
    require("bwrap")
    return only_downloaded(monkeypatch)


def launch(prepared: Prepared, work: Path, *argv: str) -> Launch:
    """As an installed app: the tree readable by the uid it runs under."""
    for folder in (work, prepared.folder.parent):
        folder.chmod(0o755)
    permissions = Permissions.parse(prepared.manifest.permissions)
    return Launch(bytes(32), prepared.manifest, prepared.folder, work / "data", permissions, argv=argv)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    above = [folder for folder in tmp_path.parents if folder.stat().st_uid == os.geteuid()][:3]
    for folder in above:
        folder.chmod(folder.stat().st_mode | 0o011)  # pytest makes them private; the app has a uid of its own
    return tmp_path


def test_black_formats_files_in_its_folder(
    work: Path, wheels: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """For more files than one it uses a process pool."""
    with from_pypi(pin(wheels, "black")) as prepared:
        app = launch(prepared, work, "-q", "a.py", "b.py")
        (work / "data").mkdir()
        for name in ("a.py", "b.py"):
            (work / "data" / name).write_text("x = {  'a':37,'b':42 }\n")
        own(work / "data", app)
        assert service.run(app) == 0, capfd.readouterr()
    assert (work / "data" / "b.py").read_text() == 'x = {"a": 37, "b": 42}\n'


def own(folder: Path, app: Launch) -> None:
    """Gives the data folder's files to the uid that the app runs under, as if it had made them."""
    from pearrt.sandbox.process import identity

    if uid := identity(app.app_key).outside_uid:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, uid, uid)


@pytest.mark.usefixtures("wheels")
def test_a_compiled_wheel_works(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with from_project(EXAMPLES / "pypi-numpy") as prepared:
        assert service.run(launch(prepared, work)) == 0, capfd.readouterr()
    assert capfd.readouterr().out == "x = [2.0, 3.0]\n"


@pytest.mark.usefixtures("wheels")
def test_datasette_serves_on_its_granted_local_origin(work: Path) -> None:
    seen: dict[str, object] = {}

    def browse(url: str) -> None:
        browser = Browser(url)
        browser.enter()
        seen["home"] = browser.get("/")
        seen["rows"] = browser.get("/cities/cities.json?_shape=array")
        seen["stranger"] = browser.ask("GET", "/").status
        os.kill(os.getpid(), signal.SIGINT)

    def on_show(url: str) -> None:
        threading.Thread(target=browse, args=(url,)).start()

    with from_project(EXAMPLES / "pypi-datasette") as prepared:
        pages.start(launch(prepared, work), on_show, files=lambda: (), channel=socket.socket)  # type: ignore[arg-type]
    assert b"cities" in seen["home"].body  # type: ignore[attr-defined]
    policy = seen["home"].headers["Content-Security-Policy"]  # type: ignore[attr-defined]
    assert "default-src 'none'" in policy
    assert b'"name": "Ulm"' in seen["rows"].body  # type: ignore[attr-defined]
    assert seen["stranger"] == 403


CURSES = """
import curses

def main(screen):
    curses.curs_set(0)
    screen.addstr(0, 0, "size %d %d" % (curses.COLS, curses.LINES))
    screen.refresh()
    key = screen.getkey()
    screen.addstr(1, 0, "key " + key)
    screen.refresh()
    screen.getkey()

curses.wrapper(main)
"""


def test_a_full_screen_program_draws_and_reads_keys() -> None:
    require("bwrap")
    with sandboxed.AppFolder({"main.py": CURSES}, MODE) as app, on_a_terminal(app) as terminal:
        until(terminal, b"size 80 24")
        os.write(terminal, b"q")
        until(terminal, b"key q")
        os.write(terminal, b"\n")


def test_visidata_shows_a_table_on_the_terminal(wheels: Path) -> None:
    with from_pypi(pin(wheels, "visidata"), entry="vd") as prepared, sandboxed.AppFolder({}, MODE) as app:
        prepared.folder.parent.chmod(0o755)
        (app.data / "cities.csv").write_text("city,people\nUlm,129000\n")
        (app.data / "cities.csv").chmod(0o644)
        entry = str(prepared.manifest.entry)
        with on_a_terminal(app, folder=str(prepared.folder), entry=entry, argv=["cities.csv"]) as terminal:
            until(terminal, b"129000")
            os.write(terminal, b"gq")  # quit all


@contextlib.contextmanager
def on_a_terminal(app: sandboxed.AppFolder, **changes: object) -> Iterator[int]:
    """The app on a terminal of 80 by 24; it must end with 0."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(app.environ() | {"TERM": "xterm"})
        os.execv(sys.executable, app.command(**changes))
    try:
        termios.tcsetwinsize(terminal, (24, 80))
        yield terminal
        with contextlib.suppress(OSError):  # the terminal is gone with its last process
            while os.read(terminal, 1000):
                pass
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0


def until(terminal: int, text: bytes, timeout_s: float = 20) -> bytes:
    said, deadline = b"", time.monotonic() + timeout_s
    while text not in said:
        assert time.monotonic() < deadline, said
        if select.select([terminal], [], [], 1)[0]:
            said += os.read(terminal, 1000)
    return said
