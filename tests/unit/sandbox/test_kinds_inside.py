"""What a `wasi` module and a native program can and cannot do, and what an app with a listening socket gains
by it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pearrt.errors import Unsupported
from pearrt.sandbox import host, seccomp, syscalls
from tests.support import sandboxed
from tests.support.require import require, require_module

pytestmark = pytest.mark.sandbox
MODE = "root" if os.geteuid() == 0 else "user"

IMPORTS = """
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
"""
# Opens the name at 64 below descriptor `dir`, with flags and rights to write or not; exits with the errno.
OPEN = """(module {imports} (memory (export "memory") 1) (data (i32.const 64) "{name}")
  (func (export "_start") (call $exit (call $open (i32.const {dir}) (i32.const 1) (i32.const 64)
    (i32.const {length}) (i32.const {flags}) (i64.const {rights}) (i64.const 0)
    (i32.const 0) (i32.const 16)))))"""
LOOP = '(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))'
GROW = """(module (memory (export "memory") 1) (func (export "_start")
  (if (i32.ne (memory.grow (i32.const {pages})) (i32.const -1)) (then (unreachable)))))"""
RECURSE = '(module (memory (export "memory") 1) (func $f (export "_start") (call $f)))'
WAIT = """(module {imports} (memory (export "memory") 1) (func (export "_start")
  (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 1))
  (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))))"""
DATA, APP, WRITING, READING, CREATE = 3, 4, 64, 2, 1


@pytest.fixture
def app() -> Iterator[sandboxed.AppFolder]:
    require("bwrap")
    with sandboxed.AppFolder({}, MODE) as folder:
        yield folder


def put(app: sandboxed.AppFolder, wat: str) -> None:
    wasmtime = require_module("wasmtime")
    (app.app / "main.wasm").write_bytes(wasmtime.wat2wasm(wat))


def guest(app: sandboxed.AppFolder, wat: str, **changes: object) -> subprocess.CompletedProcess[bytes]:
    put(app, wat)
    return app.run(kind="wasi", entry="main.wasm", **changes)


def opening(name: str, folder: int, *, rights: int = READING, flags: int = 0) -> str:
    return OPEN.format(imports=IMPORTS, name=name, dir=folder, length=len(name), flags=flags, rights=rights)


def test_a_module_reads_its_release_and_writes_its_storage(app: sandboxed.AppFolder) -> None:
    (app.app / "readme").write_text("x")
    assert guest(app, opening("readme", APP)).returncode == 0
    assert guest(app, opening("made", DATA, rights=WRITING, flags=CREATE)).returncode == 0
    assert (app.data / "made").exists()


@pytest.mark.parametrize(
    ("name", "folder"),
    [("../etc/passwd", DATA), ("/etc/passwd", DATA), ("../data/x", APP), ("link", DATA), ("x", 5), ("x", 0)],
)
def test_a_module_reaches_nothing_else(app: sandboxed.AppFolder, name: str, folder: int) -> None:
    (app.data / "link").symlink_to("/etc/passwd")
    assert guest(app, opening(name, folder)).returncode != 0


def test_a_module_cannot_write_into_its_release(app: sandboxed.AppFolder) -> None:
    assert guest(app, opening("planted", APP, rights=WRITING, flags=CREATE)).returncode != 0
    assert not (app.app / "planted").exists()


def test_memory_is_bounded_by_the_engine(app: sandboxed.AppFolder) -> None:
    pages = (64 << 20) // 65536
    assert guest(app, GROW.format(pages=pages), permissions={"memory": "64 MiB"}).returncode == 0
    grown = guest(app, GROW.format(pages=pages - 1), permissions={"memory": "64 MiB"})
    assert grown.returncode == 134
    assert b"unreachable" in grown.stderr


def test_a_loop_without_end_ends_at_a_signal(app: sandboxed.AppFolder) -> None:
    for wat in (LOOP, WAIT.format(imports=IMPORTS)):
        put(app, wat)
        with app.start(kind="wasi", entry="main.wasm") as running:
            time.sleep(0.7)  # until it loops; before, the signal ends the start, with the same code
            running.send_signal(signal.SIGTERM)
            assert running.wait(10) == 128 + signal.SIGTERM


def test_a_loop_without_end_runs_out_of_fuel(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The engine's own bound, with less fuel than an app gets."""
    wasmtime = require_module("wasmtime")
    (tmp_path / "main.wasm").write_bytes(wasmtime.wat2wasm(LOOP))
    code = (
        "import sys; from pearrt.sandbox import wasi\n"
        "s = dict(folder=sys.argv[1], home=sys.argv[1], argv=['m'], fuel=100_000, guest_bytes=1 << 20,"
        " entry={'file': 'main.wasm'})\n"
        "sys.exit(wasi.run(s))"
    )
    import sys

    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, check=False)
    assert done.returncode == 134
    assert b"used up its 100000 instructions" in done.stderr


def test_a_deep_recursion_traps(app: sandboxed.AppFolder) -> None:
    assert guest(app, RECURSE).returncode == 134


@pytest.mark.parametrize(
    "what", ["compiled", "text", "component", "truncated", "empty", "rubbish", "no start"]
)
def test_what_is_no_core_module_is_refused(app: sandboxed.AppFolder, what: str) -> None:
    """Above all a compiled one: it is native code that the engine would trust (CVE-2026-47218)."""
    wasmtime = require_module("wasmtime")
    module = wasmtime.wat2wasm(LOOP)
    data = {
        "compiled": lambda: bytes(wasmtime.Module(wasmtime.Engine(), module).serialize()),
        "text": LOOP.encode,
        "component": lambda: b"\0asm\x0d\0\1\0",
        "truncated": lambda: bytes(module[:-3]),
        "empty": lambda: b"",
        "rubbish": lambda: b"\0asm\1\0\0\0" + os.urandom(64),
        "no start": lambda: bytes(wasmtime.wat2wasm('(module (memory (export "memory") 1))')),
    }[what]()
    (app.app / "main.wasm").write_bytes(data)
    done = app.run(kind="wasi", entry="main.wasm")
    assert done.returncode == 1, done
    assert b"module" in done.stderr
    assert b"Traceback" not in done.stderr


def test_without_wasmtime_the_person_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(Unsupported) as caught:
        host.wasmtime_folder()
    assert "pip install 'pearrt[wasi]'" in caught.value.hint


def program(app: sandboxed.AppFolder, text: str) -> None:
    (app.app / "tool").write_text(text)
    (app.app / "tool").chmod(0o755)


def test_a_native_program_has_the_same_world_and_no_more(app: sandboxed.AppFolder) -> None:
    program(
        app,
        '#!/bin/sh\necho "$1 $HOME $PYTHONPATH"\nfor p in /home /etc/shadow; do [ -e $p ] && echo $p; done\n',
    )
    done = app.run(kind="exec", entry="tool", argv=["a b"], permissions={"run.native": True})
    assert (done.returncode, done.stdout) == (1, b"a b /data \n")


def test_a_native_program_is_not_started_without_its_permission_or_on_tier_c(
    app: sandboxed.AppFolder,
) -> None:
    program(app, "#!/bin/sh\necho started\n")
    done = app.run(kind="exec", entry="tool")
    assert (done.returncode, done.stdout) == (207, b"")
    assert b"run.native" in done.stderr


def test_a_program_that_the_kernel_cannot_start_says_so(app: sandboxed.AppFolder) -> None:
    program(app, "\x7fELF rubbish")
    done = app.run(kind="exec", entry="tool", permissions={"run.native": True})
    assert done.returncode == 1
    assert b"does not start" in done.stderr


SERVE = """
import os, socket
s = socket.socket(fileno=int(os.environ["PEARRT_UI_FD"]))
s.listen()
print("up", flush=True)
c, _ = s.accept()
c.sendall(c.recv(10))
for attempt in (lambda: socket.socket(), lambda: socket.socket(socket.AF_UNIX), lambda: s.connect("/data/x"),
                lambda: s.bind("/data/y"), lambda: socket.socketpair()[0].listen(),
                lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)):
    try:
        attempt(); print("open", flush=True)
    except OSError: pass
"""


def test_a_listening_socket_gives_an_app_that_one_and_no_other(app: sandboxed.AppFolder) -> None:
    (app.app / "main.py").write_text(SERVE)
    path = str(app.folder / "page.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        os.chmod(path, 0o777)
        command = app.command(ui_fd=listener.fileno())
        running = subprocess.Popen(
            command, env=app.environ(), pass_fds=[listener.fileno()], stdout=subprocess.PIPE
        )
        with running, socket.socket(socket.AF_UNIX) as visitor:
            assert running.stdout
            assert running.stdout.readline() == b"up\n"
            visitor.connect(path)
            visitor.sendall(b"hello")
            assert visitor.recv(10) == b"hello"
            assert running.stdout.read() == b""
    assert running.returncode == 0


def test_a_standard_input_that_listens_is_replaced(app: sandboxed.AppFolder) -> None:
    """Else an app that may accept could take over connections that are the person's."""
    (app.app / "main.py").write_text("import os; print(os.path.samestat(os.fstat(0), os.stat('/dev/null')))")
    for listening in (True, False):
        with contextlib.closing(socket.socket()) as server:
            if listening:
                server.bind(("127.0.0.1", 0))
                server.listen()
            done = subprocess.run(
                app.command(), env=app.environ(), stdin=server, capture_output=True, check=False
            )
            assert done.stdout == b"True\n", done.stderr


def test_the_filter_of_a_serving_app_is_wider_by_three_calls() -> None:
    assert sorted(syscalls.SERVING) == ["accept", "accept4", "listen"]
    plain, serving = seccomp.build("x86_64"), seccomp.build("x86_64", serving=True)
    assert plain != serving
    assert len(serving) == len(plain)  # a verdict of another kind each, no rule more


def test_a_page_keeps_its_backends_socket_only(app: sandboxed.AppFolder) -> None:
    """A backend's stream is connected already: it gets no call to accept."""
    (app.app / "index.html").write_text("")
    (app.app / "main.py").write_text(
        "import os, socket\ns = socket.socket(fileno=int(os.environ['PEARRT_PAGE_FD']))\n"
        "try: s.accept()\nexcept OSError as e: s.sendall(str(e.errno).encode())\n"
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = app.run(
            kind="web",
            entry="index.html",
            backend="main.py",
            ui_fd=theirs.fileno(),
            pass_fds=(theirs.fileno(),),
        )
        assert done.returncode == 0, done.stderr
        assert ours.recv(10) == b"1"
