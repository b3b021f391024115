"""A `wasi` app in a process of its own, contained by its engine: the launcher for Windows. A shell of the
sandbox room.

There is no wall of the system's behind the engine here. What holds the app, all of it tried before each start
by a hostile module in the app's own store (`engine_child.py`), or the start is refused:

    wasmtime   memory, instructions, an end by epoch; two folders; no host environment; no network
    process    the base interpreter as `python -I -S -B`, an environment from scratch, and of the launcher's
               handles the standard streams and two pipes only
    job        (`job.py`) no further process, memory in total, an end together with the launcher's
    meters     storage and open handles are measured while it runs; over, the app is stopped

Start: the settings and the code go through a pipe, so that no path stands in a process list. The child tries
its bounds, says ready, waits for `go`. A later byte on the pipe is a signal's number and ends the app; so
does the pipe's end.

Nothing here is Windows' own but `_inherited` and the job, so the tests run it on Linux as well. Its makers
never ran it on a Windows machine, only with the CPython and wasmtime for Windows under Wine.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pearrt.bundle.manifest import Entry, Manifest
from pearrt.errors import Denied, SandboxError
from pearrt.sandbox import host as hosts
from pearrt.sandbox import layout, running
from pearrt.sandbox.carried import code_of
from pearrt.sandbox.launch import Launch
from pearrt.sandbox.layout import Task
from pearrt.sandbox.policy import Permissions
from pearrt.sandbox.report import Layer, Report, Tier
from pearrt.sandbox.storage import Meter

_HERE = Path(__file__).parent
START_TIMEOUT_S = 30.0
END_GRACE_S = 3.0  # more than the child gives its guest (`wasi.GRACE_S`)
POLL_S = 0.1
MAX_HANDLES = layout.OPEN_FILES
MAX_STATUS_BYTES = 1024
_SIGINT = 2
_START = (
    "import marshal,os,sys\n"
    "a,b=map(int,sys.argv[1:3])\n"
    "if os.name=='nt':\n"
    " import msvcrt\n"
    " a,b=msvcrt.open_osfhandle(a,os.O_RDONLY|os.O_BINARY),msvcrt.open_osfhandle(b,os.O_BINARY)\n"
    "def get(n):\n"
    " d=b''\n"
    " while len(d)<n:\n"
    "  p=os.read(a,n-len(d))\n"
    "  if not p: os._exit(125)\n"
    "  d+=p\n"
    " return d\n"
    "c,s=marshal.loads(get(int.from_bytes(get(4),'big')))\n"
    "g={'__name__':'engine_child'};exec(c,g);g['main'](s,a,b)\n"
)


class EngineSandbox:
    """One running app of kind `wasi`."""

    def __init__(
        self,
        launch: Launch,
        task: Task = Task.RUN,
        *,
        output: int | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """`output`, where given, replaces the terminal as stdout and stderr; stdin is empty then. Raises
        Unsupported where there is no wasmtime."""
        assert launch.manifest.kind == "wasi"
        self.launch = launch
        self.task = task
        self.output = output
        self.timeout_s = timeout_s
        self.engine = hosts.wasmtime_folder()

    def run(self) -> int:
        """Starts, waits, gives the exit code. Raises SandboxError where a bound does not hold, Denied for too
        much storage or too many handles."""
        data = self.launch.data
        try:
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.path.dirname(os.path.realpath(data)) != os.path.realpath(data.parent):  # links, junctions
                raise SandboxError(f"The app's storage {data} leads elsewhere.")
            meter = Meter(data, self.launch.permissions.storage_bytes)
            with _Child(self._settings(), self.output, self._memory_bytes()) as child:
                child.await_ready()
                return self._wait(child, meter)
        except OSError as e:
            raise SandboxError(f"The app's process could not be started: {e.strerror or e}.") from e

    def _memory_bytes(self) -> int:
        return self.launch.permissions.memory_bytes + layout.WASI_ENGINE_BYTES

    def _settings(self) -> dict[str, Any]:
        """What `engine_child.main` and `wasi.run` read; plain values that `marshal` can carry."""
        launch = self.launch
        entry = launch.manifest.entry
        return {
            "runner": code_of(_HERE / "wasi.py"),
            "engine": self.engine,
            "folder": str(launch.folder.absolute()),
            "home": str(launch.data.absolute()),
            "argv": [launch.manifest.name, *entry.arguments, *launch.argv],
            "env": layout.guest_environment(launch, os.environ),
            "entry": {"file": entry.file},
            "fuel": layout.WASI_FUEL,
            "guest_bytes": launch.permissions.memory_bytes,
            "ready": layout.READY,
            "failed": layout.FAILED,
            "go": layout.GO,
            "task": str(self.task),
        }

    def _wait(self, child: _Child, meter: Meter) -> int:
        deadline = None if self.timeout_s is None else time.monotonic() + self.timeout_s
        try:
            while child.process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.process.wait(POLL_S)
                if meter.over():
                    raise meter.refusal()
                if child.open_handles() > MAX_HANDLES:
                    raise Denied(f"The app was stopped: it has more than {MAX_HANDLES} files open.")
                if deadline is not None and time.monotonic() > deadline:
                    raise SandboxError(f"The app was stopped: it did not end within {self.timeout_s} s.")
        except KeyboardInterrupt:
            child.signal(_SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(END_GRACE_S)
            return 128 + _SIGINT
        code = child.process.returncode
        return code if code >= 0 else 128 - code


class _Child:
    """The app's process with its two pipes. A context manager: whatever happens, it has ended afterwards."""

    def __init__(self, settings: dict[str, Any], output: int | None, memory_bytes: int) -> None:
        self._settings = settings
        self._output = output
        self._memory_bytes = memory_bytes
        self._ends = contextlib.ExitStack()
        self.process: subprocess.Popen[bytes]

    def __enter__(self) -> _Child:
        with contextlib.ExitStack() as theirs:
            control, self._control = _pipe(theirs, self._ends)
            self._status, status = _pipe(self._ends, theirs)
            with contextlib.ExitStack() as undo:
                undo.callback(self._ends.close)
                self.process = self._spawn(control, status)
                undo.pop_all()
        self._ends.callback(self._end)
        if sys.platform == "win32":
            from pearrt.sandbox.job import Job

            try:
                job = Job(self._memory_bytes)
                self._ends.callback(job.close)
                job.add(int(self.process._handle))  # type: ignore[attr-defined]  # subprocess has no other
            except BaseException:
                self._ends.close()
                raise
        with running.lock:
            running.apps.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        with running.lock:
            running.apps.discard(self)
            self._ends.close()

    def _spawn(self, control: int, status: int) -> subprocess.Popen[bytes]:
        numbers, options = _inherited(control, status)
        given = self._output
        return subprocess.Popen(
            [hosts.base_interpreter(), "-I", "-S", "-B", "-c", _START, *map(str, numbers)],
            env=_process_environment(),
            cwd=self._settings["home"],
            stdin=subprocess.DEVNULL if given is not None else _standard(0),
            stdout=_standard(1) if given is None else given,
            stderr=_standard(2) if given is None else given,
            **options,
        )

    def await_ready(self) -> None:
        """Hands over what it runs with, and lets it go once it says ready. Raises SandboxError."""
        body = marshal.dumps((code_of(_HERE / "engine_child.py"), self._settings))
        answers: list[bytes] = []

        def talk() -> None:
            with contextlib.suppress(OSError):
                _write(self._control, len(body).to_bytes(4, "big") + body)
                answers.append(os.read(self._status, MAX_STATUS_BYTES))

        talking = threading.Thread(target=talk, daemon=True)  # a pipe has no timeout of its own on Windows
        talking.start()
        talking.join(START_TIMEOUT_S)
        if talking.is_alive():
            self.process.kill()
            talking.join(END_GRACE_S)
            raise SandboxError(f"The app's process did not start within {START_TIMEOUT_S:.0f} s.")
        said = answers[0] if answers else b""
        if said != layout.READY:
            reason = said[1:].decode(errors="replace") if said else "its process ended, see above"
            raise SandboxError(
                f"The engine does not contain: {reason}.", hint="`pearrt doctor` tries it by itself."
            )
        _write(self._control, layout.GO)

    def signal(self, number: int) -> None:
        """Has the guest ended; what cannot be ended so is killed. As `running.Running`."""
        if number == 9:
            self.process.kill()
        else:
            with contextlib.suppress(OSError):
                _write(self._control, bytes([number]))

    def open_handles(self) -> int:
        """How many files, pipes and the like the process has open; 0 once it has ended."""
        try:
            if sys.platform == "win32":
                from pearrt.sandbox.job import handles

                return handles(int(self.process._handle))  # type: ignore[attr-defined]
            return len(os.listdir(f"/proc/{self.process.pid}/fd"))
        except OSError:
            return 0

    def _end(self) -> None:
        self.process.kill()
        self.process.wait()


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe whose ends are closed by those two."""
    from_it, into_it = os.pipe()
    reader.callback(os.close, from_it)
    writer.callback(os.close, into_it)
    return from_it, into_it


def _inherited(*fds: int) -> tuple[list[int], dict[str, Any]]:
    """What the child is to be told about these descriptors, and how to start it so that it gets them and none
    other beside its standard streams."""
    if sys.platform == "win32":
        import msvcrt

        found = [msvcrt.get_osfhandle(fd) for fd in fds]
        for handle in found:
            os.set_handle_inheritable(handle, True)
        return found, {"startupinfo": subprocess.STARTUPINFO(lpAttributeList={"handle_list": found})}
    return list(fds), {"pass_fds": fds}


def _standard(fd: int) -> int:
    """One of the launcher's own streams, named, so that it is passed on where others are not."""
    try:
        os.fstat(fd)
    except OSError:
        return subprocess.DEVNULL
    return fd


def _process_environment() -> dict[str, str]:
    """The interpreter's own, not the guest's: on Windows it finds the system's libraries by the first, and
    wasmtime its own by the second."""
    return {name: os.environ[name] for name in ("SYSTEMROOT", "PROCESSOR_ARCHITECTURE") if name in os.environ}


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


@contextlib.contextmanager
def _nothing() -> Iterator[Launch]:
    """An app without a module, to try the engine with."""
    with tempfile.TemporaryDirectory(prefix="pearrt-probe-") as made:
        folder = Path(made, "app")
        folder.mkdir()
        manifest = Manifest("probe", "1", Entry(file="none.wasm"), kind="wasi")
        yield Launch(bytes(32), manifest, folder, Path(made, "data"), Permissions())


def examine() -> Report:
    """What holds on Windows: nothing of the system's, and the engine where a real start of it shows so. Tier
    D at best."""
    system = Layer(
        "system",
        False,
        "Windows has no container that pearrt knows to hold",
        "Use Linux. Here only apps of kind wasi and pages run: their engine or browser is the one wall.",
    )
    try:
        with _nothing() as launch:
            EngineSandbox(launch, Task.PROBE, timeout_s=START_TIMEOUT_S).run()
    except SandboxError as e:
        return Report(Tier.E, (Layer("engine", False, e.message, e.hint), system))
    bounds = "wasmtime: memory, instructions, an end, two folders, no network"
    tried = "a hostile module tried each bound from inside, as before every start"
    return Report(Tier.D, (Layer("engine", True, bounds), Layer("self-test", True, tried), system))
