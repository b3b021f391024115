"""One sandboxed process, from the outside: descriptors, start, handshake, signals, end. A shell of the
sandbox room.

Start: bubblewrap gets its options, and Python the compiled shim with its settings, in memory files, so that
no path of the machine stands in a process list. The shim says ready over a socket that tells the kernel's
idea of its process id, and waits for `go`: the launcher then holds a pidfd of the app and can pass signals on
without a race.

Terminal: the app has a session of its own, and a terminal of its own (`pty_relay.py`) wherever a standard
descriptor is one. The session's leader is bubblewrap's outer process, started by a shell that opens the
terminal first: that makes it the session's. So the app's group, led by the shim, has a parent in the session
that is in no group of the app's, as a shell's jobs have, and can be stopped. (`--new-session` would make
bubblewrap's process 1 the leader, and that opens no terminal.)
Signals are blocked from before the start until the shim unblocks them, so none is lost and bubblewrap answers
none.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pearrt.errors import SandboxError
from pearrt.sandbox import host as hosts
from pearrt.sandbox import layout, seccomp
from pearrt.sandbox.carried import code_of
from pearrt.sandbox.cgroup import Group
from pearrt.sandbox.disk import DiskFloor
from pearrt.sandbox.hangup import Hangup
from pearrt.sandbox.launch import Launch
from pearrt.sandbox.layout import Task
from pearrt.sandbox.memory import MemoryMeter
from pearrt.sandbox.storage import Meter
from pearrt.sandbox.supervise import PASSED_SIGNALS, Bound, Watch, flags_kept, signals_held

if TYPE_CHECKING:
    from pearrt.sandbox.pty_relay import Relay

SHIM = Path(__file__).with_name("shim.py")  # read, not imported: its imports would cost the launcher too
WASI = Path(__file__).with_name("wasi.py")
START_TIMEOUT_S = 30.0
# Without O_NOCTTY, by the leader of a session without a terminal (tty_ioctl(4), TIOCSCTTY).
_OPEN_TERMINAL = ': <>"$0"; exec "$@"'
_UCRED = struct.Struct("=iII")


class Sandbox:
    """One running app."""

    def __init__(
        self,
        launch: Launch,
        layers: Collection[str],
        task: Task = Task.RUN,
        *,
        output: int | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """`layers` names what the probe found. `output`, where given, replaces the terminal as
        stdout and stderr; stdin is empty then. After `timeout_s` it is killed."""
        self.launch = replace(launch, folder=launch.folder.absolute(), data=launch.data.absolute())
        self.host = hosts.inspect()
        self.who = identity(launch.app_key)
        self.layers = layers
        self.task = task
        self.serving = launch.ui_fd is not None and launch.manifest.kind != "web"
        self.engine = hosts.wasmtime_folder() if task is Task.RUN and launch.manifest.kind == "wasi" else ""
        self.output = output
        self.timeout_s = timeout_s

    def run(self) -> int:
        """Starts, waits, gives the exit code. Raises SandboxError where a layer could not be set up."""
        _fill_standard_descriptors()
        prepare_data(self.launch.data, self.who)
        with signals_held(), flags_kept():
            return self._start_and_wait()

    def _start_and_wait(self) -> int:
        ours, theirs = socket.socketpair()
        with ours, self._terminal() as relay:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            ours.settimeout(START_TIMEOUT_S)
            with theirs:
                process = self._spawn(theirs, relay)
            with self._group() as group, _ended(process):  # made while the sandbox starts
                kept = self._kept()  # measured while the sandbox starts
                pid = _await_ready(ours)
                meters = [*kept, *self._meters(process.pid, group is not None and group.add(pid))]
                with Watch(process, pid, timeout_s=self.timeout_s, meters=meters, relay=relay) as watch:
                    if relay is not None:
                        relay.start(pid)
                    ours.send(layout.GO)
                    code = watch.wait()
        return code if code >= 0 else 128 - code

    @contextlib.contextmanager
    def _terminal(self) -> Iterator[Relay | None]:
        """The app's own, where it is to have one; afterwards all that it said has been shown."""
        if self.output is not None or not any(os.isatty(fd) for fd in range(3)):
            yield None
            return
        from pearrt.sandbox.pty_relay import relayed  # a start without a terminal does not pay for it

        with relayed(self.who.outside_uid, PASSED_SIGNALS) as relay:
            yield relay

    def _kept(self) -> list[Bound]:
        """What is watched of where the app can write."""
        if self.task is Task.PROBE:
            return []
        writes = self.launch.data
        if self.task is Task.COMPILE and self.launch.bytecode is not None:
            writes = self.launch.bytecode
        storage = Meter(writes, self.launch.permissions.storage_bytes)
        return [storage, DiskFloor(storage, time.monotonic())]

    def _meters(self, first: int, grouped: bool) -> list[Bound]:
        """What else is watched while the app runs: its terminal where it may not do without, and its memory
        where no cgroup bounds it."""
        if self.task is Task.PROBE:
            return []
        permissions, now = self.launch.permissions, time.monotonic()
        meters: list[Bound] = []
        meters += [] if permissions.background or self.task is Task.COMPILE else [Hangup(now)]
        extra = layout.WASI_ENGINE_BYTES if self.engine else 0
        return meters if grouped else [*meters, MemoryMeter(first, permissions.memory_bytes + extra, now)]

    @contextlib.contextmanager
    def _group(self) -> Iterator[Group | None]:
        """A cgroup for the app while it runs, where this process may make one."""
        group = Group.make(self.launch.permissions) if "cgroup" in self.layers else None
        try:
            yield group
        finally:
            if group is not None:
                group.close()

    def _spawn(self, status: socket.socket, relay: Relay | None) -> subprocess.Popen[bytes]:
        fds: list[int] = []
        try:
            files = {path: _memory_file(data, fds) for path, data in layout.etc_files(self.who).items()}
            wide = seccomp.build(self.host.machine, setting_up=True, serving=self.serving)
            filter_fd = _memory_file(wide, fds)
            options = layout.bubblewrap_arguments(
                self.host, self.launch, self.who,
                no_new_namespaces="disable-userns" in self.layers, file_fds=files, filter_fd=filter_fd,
                task=self.task, engine=self.engine,
            )  # fmt: skip
            options_fd = _memory_file(b"\0".join(os.fsencode(option) for option in options) + b"\0", fds)
            settings_fd = _memory_file(
                marshal.dumps((code_of(SHIM), self._settings(status.fileno(), relay))), fds
            )
            given = [fd for fd in (self.launch.channel_fd, self.launch.ui_fd) if fd is not None]
            streams = [relay.slave if relay is not None and fd in relay.fds else None for fd in range(3)]
            if self.output is not None:
                streams = [subprocess.DEVNULL, self.output, self.output]
            return subprocess.Popen(
                self._command(options_fd, settings_fd, relay),
                env=layout.environment(self.host, self.launch, os.environ),
                pass_fds=[*fds, status.fileno(), *given],
                cwd="/",
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                start_new_session=True,
            )
        except OSError as e:
            raise SandboxError(f"The sandbox could not be started: {e.strerror}.") from e
        finally:
            if relay is not None:
                relay.spawned()
            for fd in fds:
                os.close(fd)

    def _command(self, options_fd: int, settings_fd: int, relay: Relay | None) -> list[str]:
        """The paths of the machine stay out of it: a process list shows it, inside too."""
        start = (
            f"import marshal;f=open({settings_fd},'rb');c,s=marshal.load(f);f.close();"
            "g={'__name__':'shim'};exec(c,g);g['main'](s)"
        )
        assert self.host.bubblewrap
        opening = [] if relay is None else ["/bin/sh", "-c", _OPEN_TERMINAL, relay.name]
        return [
            *opening, self.host.bubblewrap, "--args", str(options_fd), "--",
            self.host.interpreter, "-I", "-S", "-B", "-c", start,
        ]  # fmt: skip

    def _settings(self, status_fd: int, relay: Relay | None) -> dict[str, Any]:
        settings = layout.shim_settings(
            self.host, self.launch, self.who,
            call_filter=seccomp.build(self.host.machine, serving=self.serving),
            landlock="landlock" in self.layers,
            status_fd=status_fd, signals=[int(number) for number in PASSED_SIGNALS], task=self.task,
            terminal=None if relay is None else min(relay.fds),
        )  # fmt: skip
        return settings | {"runner": code_of(WASI)} if self.engine else settings


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever is raised, the sandbox has ended before it goes further."""
    try:
        yield
    except BaseException:
        process.kill()
        process.wait()
        raise


def with_compiled(launch: Launch) -> Launch:
    """The launch with `bytecode` narrowed to what this interpreter can use."""
    if launch.bytecode is None:
        return launch
    return replace(launch, bytecode=of_this_interpreter(launch.bytecode))


def of_this_interpreter(folder: Path) -> Path:
    """The part of a bytecode folder that this interpreter made."""
    return folder / (sys.implementation.cache_tag or "none")


def identity(app_key: bytes) -> layout.Identity:
    """Under which uid this process starts that app."""
    return layout.identity_of(app_key, as_root=os.geteuid() == 0, uids=hosts.inspect().uids)


def _fill_standard_descriptors() -> None:
    """Where one is closed, what is opened next would take its place and be taken for the app's input or
    output.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one


def _memory_file(data: bytes, opened: list[int]) -> int:
    fd = os.memfd_create("pearrt", os.MFD_CLOEXEC)
    opened.append(fd)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def prepare_data(data: Path, who: layout.Identity) -> None:
    """Creates the private storage, 0700 and owned by the app's uid. A link in its place is refused."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if who.outside_uid and os.fstat(fd).st_uid != who.outside_uid:
                os.fchown(fd, who.outside_uid, who.outside_uid)
            os.fchmod(fd, 0o700)
        finally:
            os.close(fd)
    except OSError as e:
        raise SandboxError(f"Cannot prepare the app's storage {data}: {e.strerror}.") from e


def _await_ready(status: socket.socket) -> int:
    """The app's process id, once the shim says ready. Raises SandboxError where it does not."""
    try:
        message, ancillary, _, _ = status.recvmsg(1024, socket.CMSG_SPACE(_UCRED.size))
    except TimeoutError:
        raise SandboxError(f"The sandbox did not start within {START_TIMEOUT_S:.0f} s.") from None
    if message != layout.READY:
        reason = message[1:].decode(errors="replace") if message else "bubblewrap or Python failed, see above"
        raise SandboxError(
            f"The sandbox could not be set up: {reason}.", hint="`pearrt doctor` examines each layer."
        )
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            return int(_UCRED.unpack(data[: _UCRED.size])[0])
    raise SandboxError("The kernel did not name the app's process.")
