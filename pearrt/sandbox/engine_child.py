"""A `wasi` app's own process where its engine is the only wall (Windows): tries that wall, then hands over to
`wasi.py`.

Run by `python -I -S -B` with settings that came through a pipe (`engine_run.py`). Order:

    engine     wasmtime is imported from its own folder; nothing else of the machine's packages can be
    self-test  a module that is hostile on purpose, in the very store that the app will get: each bound is
               tried, and one that does not hold ends it here
    status     one byte says ready, one byte back says go; a launcher that is gone means the end
    app        while it runs, the launcher ends it by a byte, or by being gone

Standard library and wasmtime only. Nothing of pearrt's is importable in here.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # `typing` costs a start milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

SETUP_EXIT_CODE = 125
FEW_INSTRUCTIONS = 10_000
_PAGE_BYTES = 1 << 16
_BAD_FD = 8  # errno of WASI preview 1
_CREATE, _FOLDER, _READING, _WRITING = 1, 2, 2, 64
_FIRST_DATA_FD, _FIRST_APP_FD, _NO_FD = 3, 4, 5

HOSTILE = """(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "loop") (loop (br 0)))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "count") (result i32)
    (drop (call $sizes (i32.const 0) (i32.const 4))) (i32.load (i32.const 0)))
  (func (export "open") (param $folder i32) (param $length i32) (param $flags i32) (param $rights i64)
      (result i32) (local $errno i32)
    (local.set $errno (call $open (local.get $folder) (i32.const 1) (i32.const 64) (local.get $length)
      (local.get $flags) (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 16)))
    (if (i32.eqz (local.get $errno)) (then (drop (call $close (i32.load (i32.const 16))))))
    (local.get $errno)))"""


class NotHeld(Exception):
    """A bound of the engine's that did not hold; the text is for the person."""


def main(settings: dict[str, Any], control_fd: int, status_fd: int) -> NoReturn:
    """Tries the engine, says ready, runs the app in this process and ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the launcher's, which ends this process
    runner: dict[str, Any] = {"__name__": "wasi"}
    exec(settings["runner"], runner)  # noqa: S102 - what the launcher carried here
    try:
        _import_engine(settings["engine"])
        self_test(settings, runner)
    except Exception as e:
        text = str(e) if isinstance(e, NotHeld) else f"{type(e).__name__}: {e}"
        _report(settings, control_fd, status_fd, settings["failed"] + text.encode(errors="replace")[:500])
        os._exit(SETUP_EXIT_CODE)
    _report(settings, control_fd, status_fd, settings["ready"])
    os.close(status_fd)
    if settings["task"] != "run":
        os._exit(0)

    def watch(engine: Any) -> list[int]:
        ended: list[int] = runner["end_after"](engine, lambda: _told_to_end(control_fd))
        return ended

    sys.exit(runner["run"](settings, watch))


def _import_engine(folder: str) -> None:
    """The package in that folder and no neighbour of it."""
    from importlib.util import module_from_spec, spec_from_file_location

    path = os.path.join(folder, "__init__.py")
    spec = spec_from_file_location("wasmtime", path, submodule_search_locations=[folder])
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["wasmtime"] = module_from_spec(spec)
    spec.loader.exec_module(module)


def _told_to_end(control_fd: int) -> int:
    """Waits for the launcher's word, a signal's number; its end is one too."""
    try:
        word = os.read(control_fd, 1)
    except OSError:
        word = b""
    return word[0] if word else int(signal.SIGTERM)


def _report(settings: dict[str, Any], control_fd: int, status_fd: int, message: bytes) -> None:
    """Tells the launcher and waits for its word; when it is gone, so is the reason to go on."""
    try:
        if os.write(status_fd, message) != len(message) or os.read(control_fd, 1) != settings["go"]:
            os._exit(SETUP_EXIT_CODE)
    except OSError:
        os._exit(SETUP_EXIT_CODE)


def self_test(settings: dict[str, Any], runner: dict[str, Any]) -> None:
    """Tries every bound from inside. Raises NotHeld for the first that does not hold."""
    import wasmtime

    engine = wasmtime.Engine(runner["config"](wasmtime))
    module = wasmtime.Module(engine, HOSTILE)

    def started(**changes: Any) -> tuple[Any, Any]:
        """A store as the app's, with what the hostile module exports."""
        store = runner["store_of"](wasmtime, engine, settings | changes)
        linker = wasmtime.Linker(engine)
        linker.define_wasi()
        return store, linker.instantiate(store, module).exports(store)

    store, guest = started(fuel=FEW_INSTRUCTIONS)
    counted = store.get_fuel() <= FEW_INSTRUCTIONS
    if not counted or not _traps(wasmtime, lambda: guest["loop"](store)) or store.get_fuel() != 0:
        raise NotHeld("instructions are not counted")
    store, guest = started(fuel=FEW_INSTRUCTIONS * 1000)
    engine.increment_epoch()
    if not _traps(wasmtime, lambda: guest["loop"](store)) or store.get_fuel() == 0:
        raise NotHeld("a loop without end cannot be ended")
    store, guest = started()
    if guest["grow"](store, settings["guest_bytes"] // _PAGE_BYTES) != -1:
        raise NotHeld("memory is not bounded")
    if guest["count"](store) != len(settings["env"]):
        raise NotHeld("the environment is not the app's alone")
    _try_files(store, guest, settings)


def _traps(wasmtime: Any, call: Callable[[], object]) -> bool:
    try:
        call()
    except wasmtime.Trap:
        return True
    return False


def _try_files(store: Any, guest: Any, settings: dict[str, Any]) -> None:
    """Ways out of the two folders, and into the one that is not to be changed."""

    def errno(folder: int, name: str, flags: int = 0, rights: int = _READING) -> int:
        data = name.encode()
        guest["memory"].write(store, data, 64)
        number: int = guest["open"](store, folder, len(data), flags, rights)
        return number

    outside = [
        os.path.abspath(os.sep),
        settings["engine"],
        sys.executable,
        "..",
        "../..",
        "..\\..",
        "./../..",
    ]
    for folder in (_FIRST_DATA_FD, _FIRST_APP_FD):
        for name in outside:
            if errno(folder, name) == 0 or errno(folder, name, _FOLDER) == 0:
                raise NotHeld(f"a module opens {name!r}")
    if errno(_FIRST_APP_FD, ".pearrt-self-test", _CREATE, _WRITING) == 0:
        raise NotHeld("the release can be written to")
    if errno(_NO_FD, ".") != _BAD_FD:
        raise NotHeld("more than two folders are open")
    if errno(_FIRST_DATA_FD, ".", _FOLDER) or errno(_FIRST_APP_FD, ".", _FOLDER):
        raise NotHeld("its own folders are closed to it")  # else all of the above would prove nothing
    mark = f".pearrt-{os.urandom(8).hex()}"  # a root in a folder's place would pass everything so far
    place = os.path.join(settings["home"], mark)
    with open(place, "xb"):
        pass
    try:
        if errno(_FIRST_DATA_FD, mark) or errno(_FIRST_APP_FD, mark) == 0:
            raise NotHeld("its folders are others than they should be")
    finally:
        os.unlink(place)
