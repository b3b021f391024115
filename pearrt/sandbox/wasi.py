"""A WebAssembly module as an app: what the shim hands over to, for kind `wasi`. Runs inside the sandbox.

The guest is bounded twice: by the sandbox, as every app, and by the engine. On Windows by the engine alone
(`engine_child.py`). Rules:

    module   core WebAssembly, compiled here from its bytes; a precompiled one (`.cwasm`) is native code in
             disguise and is never loaded (CVE-2026-47218)
    files    /data for reading and writing, /app for reading; nothing else is opened for it
    fuel     the number of instructions of one run
    epoch    moves on when a signal asks the guest to end, so that a loop without calls ends too
    memory   one linear memory of at most what the app was granted

The exit code is the guest's; 128 + n for signal n; 134 where it trapped. Standard library and wasmtime only.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

TYPE_CHECKING = False  # `typing` costs a start milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

HEADER = b"\0asm\1\0\0\0"
MAX_MODULE_BYTES = 256 << 20
TRAPPED = 134  # as a native program that aborts
DATA, APP = "/data", "/app"  # what the guest calls its two folders, wherever they lie
GRACE_S = 1.0  # for a guest that waits in a call, where no epoch reaches it
_STACK_BYTES = 1 << 20
_TABLE_ELEMENTS = 1 << 20
_RESERVATION_BYTES, _GUARD_BYTES = 4 << 30, 32 << 20


def run(settings: dict[str, Any], watch: Callable[[Any], list[int]] | None = None) -> int:
    """Runs the module of the entry until it ends; gives its exit code. `watch(engine)` has the guest ended
    when it has to be, and gives a list that gets the signal's number then: by signals, where it is None."""
    import wasmtime

    engine = wasmtime.Engine(config(wasmtime))
    path = f"{settings['folder']}/{settings['entry']['file']}"
    try:
        module = wasmtime.Module(engine, _read_module(path))
        linker = wasmtime.Linker(engine)
        linker.define_wasi()
        store = store_of(wasmtime, engine, settings)
    except wasmtime.WasmtimeError as e:
        return _refuse(f"The app's module is refused: {_reason(e)}.")
    ended = (watch or _end_by_signal)(engine)
    try:
        instance = linker.instantiate(store, module)
        start = instance.exports(store).get("_start")
        if not isinstance(start, wasmtime.Func):
            return _refuse("The app's module has no _start: it is no WASI program.")
        start(store)
    except wasmtime.ExitTrap as e:
        return int(e.code)
    except (wasmtime.Trap, wasmtime.WasmtimeError) as e:
        if ended:
            return 128 + ended[0]
        if store.get_fuel() == 0:
            return _refuse(f"The app was stopped: it used up its {settings['fuel']} instructions.", TRAPPED)
        return _refuse(f"The app trapped: {_reason(e)}.", TRAPPED)
    return 0


def config(wasmtime: Any) -> Any:
    """The engine's: what it bounds, and what of WebAssembly it takes."""
    config = wasmtime.Config()
    config.consume_fuel = True
    config.epoch_interruption = True
    config.parallel_compilation = False  # its threads would count among the app's
    config.max_wasm_stack = _STACK_BYTES
    config.wasm_threads = False
    config.wasm_memory64 = False
    config.wasm_multi_memory = False
    config.memory_reservation = _RESERVATION_BYTES
    config.memory_guard_size = _GUARD_BYTES
    return config


def _read_module(path: str) -> bytes:
    with open(path, "rb") as file:
        data = file.read(MAX_MODULE_BYTES + 1)
    if len(data) > MAX_MODULE_BYTES:
        raise SystemExit(f"The app's module is larger than {MAX_MODULE_BYTES} bytes.")
    if not data.startswith(HEADER):
        raise SystemExit("The app's module is no core WebAssembly module; compiled ones are not loaded.")
    return data


def store_of(wasmtime: Any, engine: Any, settings: dict[str, Any]) -> Any:
    """What one guest gets: arguments, environment, standard streams, two folders, and its bounds."""
    wasi = wasmtime.WasiConfig()
    wasi.argv = settings["argv"]
    wasi.env = sorted(settings.get("env", os.environ).items())
    wasi.inherit_stdin()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    wasi.preopen_dir(settings["home"], DATA, fs_mutable=True)
    wasi.preopen_dir(settings["folder"], APP, fs_mutable=False)
    store = wasmtime.Store(engine)
    store.set_wasi(wasi)
    store.set_limits(
        memory_size=settings["guest_bytes"],
        table_elements=_TABLE_ELEMENTS,
        instances=1,
        tables=16,
        memories=1,
    )
    store.set_fuel(settings["fuel"])
    store.set_epoch_deadline(1)
    return store


def _end_by_signal(engine: Any) -> list[int]:
    """Lets a signal end the guest: the list gets its number. Python's own handlers would wait for the
    guest."""
    if sys.platform == "win32":
        raise SystemExit("There are no such signals on Windows.")
    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    return end_after(engine, lambda: signal.sigwait(ending))


def end_after(engine: Any, wait: Callable[[], int]) -> list[int]:
    """Lets the guest end when `wait`, in a thread of its own, gives a signal's number: the list gets it."""
    ended: list[int] = []

    def watch() -> None:
        ended.append(wait())
        engine.increment_epoch()
        threading.Event().wait(GRACE_S)
        os._exit(128 + ended[0])

    threading.Thread(target=watch, daemon=True).start()
    return ended


def _reason(error: BaseException) -> str:
    """The innermost cause that the engine names, in one line."""
    text = str(error).rpartition("Caused by:")[2]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].lstrip("0123456789: ")[:300] if lines else type(error).__name__


def _refuse(text: str, code: int = 1) -> int:
    sys.stderr.write(f"{text}\n")
    return code
