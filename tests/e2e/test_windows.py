"""Windows' CPython and wasmtime under Wine: `pearrt run` from a link to an app's output. Opt-in, as it takes
an interpreter that `tests/support/wine_python.py` puts together."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pearrt.paths import Home
from tests.support import wine_python
from tests.support.browser import Browser
from tests.support.machine import Machine
from tests.support.require import require_module
from tests.support.team import Team, write_app
from tests.unit.sandbox import test_engine_run

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
TIMEOUT_S, WARM_S = 60, 5.0
PYTHON = os.environ.get("PEARRT_TEST_WINE_PYTHON", "")


class WindowsMachine:
    """`pearrt` commands as `python.exe -m pearrt` under Wine, with a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.environ = wine_python.environment(
            Path(PYTHON).parent / "prefix",  # kept: making one takes longer than the tests
            PEARRT_HOME=wine_python.windows_path(self.home),
            PEARRT_LISTEN="127.0.0.1:0",
            PEARRT_MDNS="off",
            PEARRT_BOOTSTRAP="none",
            PEARRT_DHT="0",
            PYTHONPATH=wine_python.windows_path(ROOT),
            PYTHONDONTWRITEBYTECODE="1",
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE  # a file of this system's as its output is no handle to Wine's Python
        return subprocess.Popen(
            [wine_python.wine(), PYTHON, *arguments], env=self.environ, stdin=pipe, stdout=pipe, stderr=pipe
        )

    def pearrt(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, output and errors of a command."""
        return self.python("-m", "pearrt", *arguments)

    def python(self, *arguments: str) -> tuple[int, str, str]:
        """The same of anything that Python runs."""
        process = self.start(*arguments)
        assert process.stdin
        assert process.stdout
        assert process.stderr
        with process.stdin, process.stdout as out, process.stderr as err:
            try:
                code = process.wait(TIMEOUT_S)  # not to the pipes' end: Wine gives them to the daemon as well
            finally:
                process.kill()
                process.wait()
            for pipe in (out, err):
                os.set_blocking(pipe.fileno(), False)
            return code, _text(out.read()), _text(err.read())

    def log(self) -> str:
        log = self.home / "daemon.log"
        return log.read_text(errors="replace")[-4000:] if log.exists() else "no log"


def _text(data: bytes | None) -> str:
    return (data or b"").decode(errors="replace").replace("\r", "")


@pytest.fixture
def windows(tmp_path: Path) -> Iterator[WindowsMachine]:
    if not PYTHON:
        pytest.skip("not applicable: PEARRT_TEST_WINE_PYTHON names no python.exe")
    machine = WindowsMachine(tmp_path)
    with machine.start("-c", "input()") as up:  # Wine's own processes keep the pipes of whoever starts them
        assert up.stdin
        up.stdin.write(b" ")
        up.stdin.flush()
        time.sleep(WARM_S)
        yield machine
        machine.pearrt("daemon", "stop")
        server = Path(wine_python.wine()).with_name("wineserver64")
        subprocess.run([server, "-k"], env=machine.environ, check=False, timeout=TIMEOUT_S)
        up.kill()


def published(new_home: Callable[[], Home], tmp_path: Path, folder: Path) -> tuple[Machine, str, str]:
    """A publisher on this machine, the link of its app, and where it is."""
    publisher = Machine(new_home(), PEARRT_DHT="0")
    team = Team(publisher, tmp_path, threshold=1)
    team.release(team.stage(folder), "alice")
    host, port = publisher.daemon.status()["address"]
    return publisher, team.link, f"{host}:{port}"


def test_a_wasi_app_is_fetched_verified_and_run_by_its_link(
    windows: WindowsMachine, new_home: Callable[[], Home], tmp_path: Path
) -> None:
    publisher, link, host = published(new_home, tmp_path, ROOT / "examples" / "wasi-greeting")
    try:
        for stars in ("*", "**"):
            code, out, err = windows.pearrt("run", "--yes", "--host", host, link)
            assert (code, out) == (0, f"Hello from WebAssembly: {stars}\n"), err + windows.log()
            assert ("no wall of the system's" in err) is (stars == "*")  # the question comes once
        assert windows.pearrt("verify", link)[0] == 0
    finally:
        publisher.stop()


HOSTILE = """
import sys, pathlib
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.errors import PearrtError
from pearrt.sandbox import engine_run, layout, storage
from pearrt.sandbox.launch import Launch
from pearrt.sandbox.policy import Permissions
folder = pathlib.Path(sys.argv[1])
storage.FIRST_CHECK_S, engine_run.MAX_HANDLES = 0.2, 1000
for name in ("BOMB", "LOOP", "FILL", "HOARD"):
    layout.WASI_FUEL = 10**8 if name == "LOOP" else 1 << 43
    manifest = Manifest("app", "1", Entry(file=name + ".wasm"), kind="wasi")
    asked = Permissions(memory_bytes=64 << 20, storage_bytes=1 << 20)
    launch = Launch(bytes(32), manifest, folder, folder.parent / ("data" + name), asked)
    try:
        print(name, engine_run.EngineSandbox(launch, timeout_s=30).run(), flush=True)
    except PearrtError as e:
        print(name, e.message, flush=True)
"""


def test_hostile_modules_meet_their_bounds(windows: WindowsMachine, tmp_path: Path) -> None:
    wasmtime = require_module("wasmtime")
    folder = tmp_path / "app"
    folder.mkdir()
    for name in ("BOMB", "LOOP", "FILL", "HOARD"):
        (folder / f"{name}.wasm").write_bytes(wasmtime.wat2wasm(getattr(test_engine_run, name)))
    code, out, err = windows.python("-c", HOSTILE, wine_python.windows_path(folder))
    assert code == 0, err
    *said, hoard = out.splitlines()
    assert said == ["BOMB 0", "LOOP 134", "FILL The app was stopped: it keeps more than 1 MiB."], err
    assert hoard.startswith(
        "HOARD The app was stopped: "
    )  # Wine counts no handles: it runs out of them itself


def test_a_python_app_is_refused_before_it_starts(
    windows: WindowsMachine, new_home: Callable[[], Home], tmp_path: Path
) -> None:
    publisher, link, host = published(new_home, tmp_path, write_app(tmp_path / "app"))
    try:
        code, out, err = windows.pearrt("run", "--yes", "--host", host, link)
        assert code != 0
        assert out == ""
        assert "Windows has no container" in err
    finally:
        publisher.stop()


def test_a_page_is_served_to_the_browser(
    windows: WindowsMachine, new_home: Callable[[], Home], tmp_path: Path
) -> None:
    publisher, link, host = published(new_home, tmp_path, ROOT / "examples" / "web-clock")
    running = windows.start("-m", "pearrt", "run", "--json", "--yes", "--host", host, link)
    try:
        assert running.stderr
        line = running.stderr.readline().decode()
        assert line.startswith("{"), line + windows.log()
        browser = Browser(json.loads(line)["result"]["url"])
        assert browser.enter().status == 303
        assert b"clock.js" in browser.get("/").body
        assert browser.call("/.pearrt/call", "app.info")["name"] == "web-clock"
    finally:
        running.kill()
        running.wait()
        for pipe in (running.stdin, running.stdout, running.stderr):
            assert pipe
            pipe.close()
        publisher.stop()
