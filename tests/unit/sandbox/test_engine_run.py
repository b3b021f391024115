"""A `wasi` app with its engine as the one wall: Windows' launcher, run on this machine with the platform
forced. Every attack is a module of its own; bounds taken out one by one show that each is looked for."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pearrt.bundle.manifest import Entry, Manifest
from pearrt.errors import Denied, SandboxError, Unsupported
from pearrt.sandbox import carried, engine_run, host, kinds, layout, running, service, storage
from pearrt.sandbox.engine_run import EngineSandbox
from pearrt.sandbox.launch import Launch
from pearrt.sandbox.policy import Permissions
from pearrt.sandbox.report import Tier
from tests.support.require import require_module

IMPORTS = """
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $size (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "path_symlink" (func $link (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
"""
LOOP = '(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))'
BOMB = """(module (memory (export "memory") 1) (func (export "_start")
  (loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
  (if (i32.gt_u (memory.size) (i32.const 1024)) (then (unreachable)))))"""
TABLE_BOMB = """(module (memory (export "memory") 1) (table $t 1 funcref) (func (export "_start")
  (if (i32.ne (table.grow $t (ref.null func) (i32.const 0x7fffffff)) (i32.const -1))
    (then (unreachable)))))"""
DATA, APP, READING, WRITING, CREATE, FOLDER = 3, 4, 2, 64, 1, 2
SLACK_S = 8.0


def module(body: str, data: str = "") -> str:
    """A program: `body` in a function with the names above; `data` at address 64, room from 1024 on."""
    return (
        f'(module {IMPORTS} (memory (export "memory") 2) (data (i32.const 64) "{data}")'
        f' (func (export "_start") (local $n i32) {body}))'
    )


def opening(folder: int, name: str, flags: int = 0, rights: int = READING) -> str:
    """Opens a name; the descriptor goes to address 16, the result is the errno."""
    return (
        f"(call $open (i32.const {folder}) (i32.const 1) (i32.const 64) (i32.const {len(name)})"
        f" (i32.const {flags}) (i64.const {rights}) (i64.const {rights}) (i32.const 0) (i32.const 16))"
    )


WRITE_MUCH = """(i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 65536))
  (loop (drop (call $write {fd} (i32.const 0) (i32.const 1) (i32.const 8))) (br 0))"""
FLOOD = module(WRITE_MUCH.format(fd="(i32.const 1)"))
FILL = module(
    f"(drop {opening(DATA, 'x', CREATE, WRITING)}) {WRITE_MUCH.format(fd='(i32.load (i32.const 16))')}", "x"
)
HOARD = module(f"(loop (drop {opening(DATA, 'x', CREATE)}) (br 0))", "x")


class App:
    """An app's two folders; `start` gives what would be launched."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder / "app", folder / "data"
        self.folder.mkdir()

    def start(self, wat: str | bytes, *argv: str, **permissions: Any) -> Launch:
        wasmtime = require_module("wasmtime")
        code = wat if isinstance(wat, bytes) else bytes(wasmtime.wat2wasm(wat))
        (self.folder / "main.wasm").write_bytes(code)
        manifest = Manifest("app", "1", Entry(file="main.wasm"), kind="wasi")
        granted = Permissions(**{"memory_bytes": 64 << 20, **permissions})
        return Launch(bytes(32), manifest, self.folder, self.data, granted, argv=argv)

    def run(self, wat: str | bytes, *argv: str, **permissions: Any) -> int:
        with open(os.devnull, "wb") as nowhere:
            launch = self.start(wat, *argv, **permissions)
            return EngineSandbox(launch, output=nowhere.fileno(), timeout_s=60).run()


@pytest.fixture
def app(tmp_path: Path) -> App:
    require_module("wasmtime")
    return App(tmp_path)


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "system", lambda: "win32")


@contextlib.contextmanager
def ended_after(seconds: float, number: int) -> Iterator[None]:
    """Sends what runs a signal, once it does; it did run then."""
    sent: list[int] = []

    def send() -> None:
        deadline = time.monotonic() + SLACK_S
        while not sent and time.monotonic() < deadline:
            time.sleep(seconds)
            if running.signal_running(number):
                sent.append(number)

    thread = threading.Thread(target=send)
    thread.start()
    yield
    thread.join()
    assert sent


@pytest.mark.usefixtures("windows")
def test_the_service_starts_it_as_windows_does(app: App, capfd: pytest.CaptureFixture[str]) -> None:
    example = Path(__file__).parents[3] / "examples" / "wasi-greeting" / "greeting.wasm"
    launch = app.start(example.read_bytes())
    assert service.run(launch) == 0
    assert service.run(launch) == 0
    assert capfd.readouterr().out == "Hello from WebAssembly: *\nHello from WebAssembly: **\n"
    assert (app.data / "runs").read_bytes() == b"**"


@pytest.mark.usefixtures("windows")
def test_the_report_is_tier_d_and_every_other_kind_is_refused(app: App, tmp_path: Path) -> None:
    report = service.examined(runtime=tmp_path)
    assert (report.tier, report.held) == (Tier.D, {"engine", "self-test"})
    assert "nothing" not in report.describe().splitlines()[0]
    for kind in ("python", "exec"):
        manifest = Manifest("app", "1", Entry(file="main"), kind=kind, permissions={})
        launch = Launch(bytes(32), manifest, app.folder, app.data, Permissions(run_native=True))
        with pytest.raises(Unsupported, match="Windows has no container"):
            service.run(launch, runtime=tmp_path)
    backend = Manifest("app", "1", Entry(file="i.html"), kind="web", backend=Entry(file="main.py"))
    with pytest.raises(Unsupported, match="Windows has no container"):
        service.run(Launch(bytes(32), backend, app.folder, app.data, Permissions()), runtime=tmp_path)


@pytest.mark.usefixtures("windows")
def test_without_wasmtime_nothing_is_started(
    app: App, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    launch = app.start(LOOP)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises(Unsupported, match="wasmtime"):
        service.run(launch)
    assert service.probe(runtime=tmp_path).tier is Tier.E


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('store.set_fuel(settings["fuel"])', "store.set_fuel(10**9)", "instructions are not counted"),
        ("config.epoch_interruption = True", "config.epoch_interruption = False", ""),
        ("    store.set_epoch_deadline(1)\n", "    store.set_epoch_deadline(9)\n", "cannot be ended"),
        ('memory_size=settings["guest_bytes"]', "memory_size=-1", "memory is not bounded"),
        ('settings.get("env", os.environ)', '{**settings["env"], "HOST": "1"}', "environment"),
        ("APP, fs_mutable=False", "APP, fs_mutable=True", "the release can be written to"),
        ('wasi.preopen_dir(settings["home"], DATA', 'wasi.preopen_dir("/", DATA', "folders are others"),
        (
            'wasi.preopen_dir(settings["home"], DATA',
            'wasi.preopen_dir(settings["home"] + "/..", DATA',
            "folders",
        ),
        (
            "store = wasmtime.Store(engine)",
            'wasi.preopen_dir("/", "/r"); store = wasmtime.Store(engine)',
            "two",
        ),
    ],
)
def test_a_bound_that_does_not_hold_refuses_the_start(
    old: str, new: str, said: str, app: App, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The runner with one bound taken out, each in turn."""
    real = engine_run.code_of

    def weakened(source: Path) -> Any:
        if source.name != "wasi.py":
            return real(source)
        text = source.read_text()
        assert text.count(old) == 1, old
        changed = tmp_path / "wasi.py"
        changed.write_text(text.replace(old, new))
        return carried.code_of(changed)

    monkeypatch.setattr(engine_run, "code_of", weakened)
    with pytest.raises(SandboxError, match=f"The engine does not contain: .*({said})"):
        app.run(module(f"(call $exit {opening(DATA, 'ran', CREATE, WRITING)})", "ran"))
    assert not (app.data / "ran").exists()


@pytest.mark.parametrize("bomb", [BOMB, TABLE_BOMB])
def test_a_memory_bomb_gets_what_it_was_granted(app: App, bomb: str) -> None:
    assert app.run(bomb) == 0


def test_an_endless_loop_ends_at_a_signal_and_by_fuel(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    with ended_after(0.5, signal.SIGTERM):
        assert app.run(LOOP) == 128 + signal.SIGTERM
    with ended_after(0.5, signal.SIGKILL):
        assert app.run(LOOP) == 128 + signal.SIGKILL
    monkeypatch.setattr(layout, "WASI_FUEL", 1_000_000)
    assert app.run(LOOP) == 134


def test_a_guest_that_waits_in_a_call_ends_too(app: App) -> None:
    """No epoch reaches it there."""
    read, write = os.pipe()
    code = (
        "import sys; from tests.unit.sandbox.test_engine_run import *\n"
        "sys.exit(EngineSandbox(App(Path(sys.argv[1])).start(sys.argv[2])).run())"
    )
    wait = module(
        "(i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 1))"
        "(drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))"
    )
    (app.folder.parent / "one").mkdir()
    command = [sys.executable, "-c", code, str(app.folder.parent / "one"), wait]
    with subprocess.Popen(command, stdin=read, cwd=Path(__file__).parents[3]) as launcher:
        while not (app.folder.parent / "one" / "data").exists():
            time.sleep(0.05)
        time.sleep(1.0)
        launcher.send_signal(signal.SIGINT)
        assert launcher.wait(SLACK_S) == 128 + signal.SIGINT
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("folder", [DATA, APP])
@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "/etc/passwd",
        "..",
        "a/../../secret",
        "link",
        "linked/secret",
        "C:/Windows",
        "\\\\\\\\?\\\\C:",
    ],
)
@pytest.mark.parametrize("flags", [0, FOLDER])
def test_no_path_leads_out(app: App, folder: int, name: str, flags: int) -> None:
    (app.folder.parent / "secret").write_text("x")
    for place in (app.folder, app.data):
        place.mkdir(exist_ok=True)
        (place / "a").mkdir()
        (place / "link").symlink_to("../secret")
        (place / "linked").symlink_to("..")
    assert app.run(module(f"(call $exit {opening(folder, name, flags)})", name)) != 0


def test_a_link_that_the_guest_makes_leads_nowhere(app: App) -> None:
    (app.folder.parent / "secret").write_text("x")
    body = (
        f"(drop (call $link (i32.const 64) (i32.const 9) (i32.const {DATA}) (i32.const 80) (i32.const 1)))"
        f"(call $exit {opening(DATA, 'l')})"
    ).replace("(i32.const 64) (i32.const 1)", "(i32.const 80) (i32.const 1)")
    assert app.run(module(body, "../secret\\00\\00\\00\\00\\00\\00\\00l")) != 0


def test_it_writes_its_storage_and_not_its_release(app: App) -> None:
    for folder, place, works in ((DATA, app.data, True), (APP, app.folder, False)):
        code = app.run(module(f"(call $exit {opening(folder, 'made', CREATE, WRITING)})", "made"))
        assert (code == 0) is works
        assert (place / "made").exists() is works


def test_it_has_no_socket_and_nothing_of_the_launchers_descriptors(app: App) -> None:
    secret, other = os.pipe()
    os.set_inheritable(secret, True)
    for number in (*range(5, 12), secret):
        accept = f"(call $accept (i32.const {number}) (i32.const 0) (i32.const 16))"
        assert app.run(module(f"(call $exit {accept})")) == 8  # badf
    os.close(secret)
    os.close(other)


def test_the_process_inherits_its_streams_and_two_pipes_only(
    app: App, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """And no environment: seen from inside, before the guest starts."""
    monkeypatch.setenv("SECRET", "1")
    monkeypatch.setattr(
        engine_run,
        "_START",
        "import os,sys\nfds = sorted(map(int, os.listdir('/proc/self/fd')))[:-1]\n"
        "print(fds, sorted(os.environ), sys.flags.isolated, sys.flags.no_site, flush=True)\n",
    )
    left, right = os.pipe()
    os.set_inheritable(left, True)
    with pytest.raises(SandboxError, match="its process ended"):
        EngineSandbox(app.start(LOOP)).run()
    fds, _, rest = capfd.readouterr().out.partition("]")
    found = [int(number) for number in fds.strip("[").split(",")]
    assert found[:3] == [0, 1, 2]
    assert len(found) == 5
    assert left not in found
    assert "SECRET" not in rest
    assert "1 1" in rest
    os.close(left)
    os.close(right)


def test_the_guest_sees_a_few_variables_of_its_own(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("SECRET", "1")
    launch = app.start(LOOP)
    env = layout.guest_environment(launch, os.environ)
    assert env["TERM"] == "xterm"
    assert env["HOME"] == "/data"
    assert "SECRET" not in env
    assert not {"PATH", "PEARRT_CHANNEL_FD"} & env.keys()


def test_a_flood_of_output_neither_fills_the_launcher_nor_keeps_it(app: App) -> None:
    """Nobody reads: the guest stands still, and still ends."""
    read, write = os.pipe()
    with ended_after(0.5, signal.SIGTERM):
        began = time.monotonic()
        code = EngineSandbox(app.start(FLOOD), output=write, timeout_s=60).run()
    assert code == 128 + signal.SIGTERM
    assert time.monotonic() - began < SLACK_S
    os.close(read)
    os.close(write)


def test_too_much_storage_stops_it(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "FIRST_CHECK_S", 0.1)
    with pytest.raises(Denied, match="keeps more than 1 MiB"):
        app.run(FILL, storage_bytes=1 << 20)
    assert not running.apps


def test_too_many_open_files_stop_it(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_run, "MAX_HANDLES", 200)
    with pytest.raises(Denied, match="more than 200 files open"):
        app.run(HOARD)


@pytest.mark.parametrize("what", ["compiled", "component", "rubbish", "empty"])
def test_what_is_no_core_module_is_refused(app: App, what: str, capfd: pytest.CaptureFixture[str]) -> None:
    wasmtime = require_module("wasmtime")
    data: dict[str, Callable[[], bytes]] = {
        "compiled": lambda: bytes(wasmtime.Module(wasmtime.Engine(), LOOP).serialize()),
        "component": lambda: b"\0asm\x0d\0\1\0",
        "rubbish": lambda: b"\0asm\1\0\0\0" + os.urandom(64),
        "empty": lambda: b"",
    }
    assert EngineSandbox(app.start(data[what]())).run() == 1
    assert "module" in capfd.readouterr().err


def test_it_ends_with_its_launcher(app: App) -> None:
    code = (
        "import sys; from tests.unit.sandbox.test_engine_run import *\n"
        "EngineSandbox(App(Path(sys.argv[1])).start(LOOP)).run()"
    )
    (app.folder.parent / "one").mkdir()
    command = [sys.executable, "-c", code, str(app.folder.parent / "one")]
    with subprocess.Popen(command, cwd=Path(__file__).parents[3]) as launcher:
        deadline = time.monotonic() + SLACK_S
        while not (child := _children(launcher.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        launcher.kill()
    deadline = time.monotonic() + SLACK_S
    while any(_alive(pid) for pid in child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert child
    assert not any(_alive(pid) for pid in child)


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_storage_in_anothers_place_is_refused(app: App) -> None:
    (app.folder.parent / "elsewhere").mkdir()
    (app.folder.parent / "deep").mkdir()
    launch = app.start(LOOP)
    app.data.symlink_to(app.folder.parent / "deep")
    app.data.unlink()
    app.data.symlink_to("/tmp")
    with pytest.raises(SandboxError, match="leads elsewhere"):
        EngineSandbox(launch).run()


def test_the_person_is_told_what_contains_it() -> None:
    manifest = Manifest("app", "1", Entry(file="main.wasm"), kind="wasi")
    assert "no wall of the system's" in kinds.warnings(manifest, "win32")[0]
    assert not kinds.warnings(manifest, "linux")
    assert not kinds.warnings(Manifest("app", "1", Entry(file="i.html"), kind="web"), "win32")
