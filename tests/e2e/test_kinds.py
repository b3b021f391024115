"""Every kind of app, from its example in `examples/` to a run by its key: staged, signed, installed,
contained."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pearrt.paths import Home
from tests.support.browser import Browser
from tests.support.machine import PEARRT, Machine
from tests.support.require import require, require_module
from tests.support.team import Team

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def machine(new_home: Callable[[], Home]) -> Iterator[Machine]:
    require("bwrap")
    machine = Machine(new_home())
    yield machine
    machine.stop()


def released(machine: Machine, tmp_path: Path, name: str) -> str:
    """The link of an app of its own whose first release is this example."""
    team = Team(machine, tmp_path, threshold=1)
    team.release(team.stage(EXAMPLES / name), "alice")
    return team.link


class Running:
    """`pearrt run --json` of an app with a page: `browser` has entered it."""

    def __init__(self, machine: Machine, link: str) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [*PEARRT, "run", "--json", "--yes", link],
            env=machine.environ,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        assert self.process.stderr
        line = self.process.stderr.readline()
        assert line.startswith("{"), line + self.process.stderr.read()
        self.url: str = json.loads(line)["result"]["url"]

    def __enter__(self) -> Browser:
        browser = Browser(self.url)
        assert browser.enter().status == 303
        return browser

    def __exit__(self, *_: Any) -> None:
        self.process.send_signal(signal.SIGINT)
        said = self.process.communicate(timeout=20)
        assert self.process.returncode == 0, said


def test_kind_python(machine: Machine, tmp_path: Path) -> None:
    link = released(machine, tmp_path, "hello")
    assert machine.run(link, "a") == "Hello from version 1.0: a.\n"


def test_kind_wasi(machine: Machine, tmp_path: Path) -> None:
    require_module("wasmtime")
    link = released(machine, tmp_path, "wasi-greeting")
    assert machine.run(link) == "Hello from WebAssembly: *\n"
    assert machine.run(link) == "Hello from WebAssembly: **\n"


def test_kind_exec(machine: Machine, tmp_path: Path) -> None:
    link = released(machine, tmp_path, "exec-greeting")
    assert machine.run(link, "a") == "Hello from a native program, run 1: a.\n"
    assert machine.run(link) == "Hello from a native program, run 2: no arguments.\n"
    assert any("native program" in line for line in machine.info(link)["permissions"])


def test_kind_web(machine: Machine, tmp_path: Path) -> None:
    link = released(machine, tmp_path, "web-clock")
    with Running(machine, link) as browser:
        assert b"clock.js" in browser.get("/").body
        assert browser.get("/clock.js").headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert browser.call("/.pearrt/call", "app.info")["name"] == "web-clock"
        assert browser.get("/pyproject.toml").status == 404


def test_taking_the_page_back_ends_it_at_once(machine: Machine, tmp_path: Path) -> None:
    link = released(machine, tmp_path, "web-clock")
    running = Running(machine, link)
    browser = Browser(running.url)
    assert browser.enter().status == 303
    machine.ok("permissions", "revoke", link, "ui")
    _, said = running.process.communicate(timeout=20)
    assert running.process.returncode == 7
    assert json.loads(said)["error"]["code"] == "denied"
    assert machine.refused("run", link)["code"] == "denied"


def test_kind_web_with_a_backend(machine: Machine, tmp_path: Path) -> None:
    link = released(machine, tmp_path, "web-notes")
    with Running(machine, link) as browser:
        assert b"notes.js" in browser.get("/").body
        assert browser.call("/.pearrt/ask", "list") == []
        browser.call("/.pearrt/ask", "add", text="kept")
    with Running(machine, link) as browser:
        assert browser.call("/.pearrt/ask", "list") == ["kept"]
        assert browser.get("/notes/server.py").status == 404
        assert browser.call("/.pearrt/call", "app.info")["name"] == "web-notes"


def test_the_committed_module_is_its_committed_source() -> None:
    wasmtime = require_module("wasmtime")
    folder = EXAMPLES / "wasi-greeting"
    assert wasmtime.wat2wasm((folder / "greeting.wat").read_text()) == (folder / "greeting.wasm").read_bytes()


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()))
def test_every_example_can_be_staged(name: str) -> None:
    from pearrt.publish.stage import from_project

    if name.startswith("pypi-"):
        pytest.skip("not applicable: staged with its packages in test_packages.py")
    with from_project(EXAMPLES / name) as prepared:
        assert prepared.manifest.kind in ("python", "web", "wasi", "exec")
        assert not os.path.lexists(prepared.folder / ".git")
