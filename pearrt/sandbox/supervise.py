"""What the launcher does while the app runs: passes signals on, watches its storage, gives the terminal back.
A shell of the sandbox room.

A stop of the person's job (Ctrl-Z, or the kernel's when a member of it reads the terminal in the background)
reaches the launcher too, whom an app that ignores it would then outrun. So it is blocked here and in
bubblewrap: the launcher first stops all of the app, then itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from pearrt.errors import Denied, PearrtError, SandboxError
from pearrt.sandbox import running
from pearrt.sandbox.memory import family

PASSED_SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
STOP_GRACE_S, STOP_POLL_S = 0.3, 0.01  # for an app that tidies its screen before it stops
_SI_KERNEL = 0x80
MAX_STOPPED, STOP_PASSES = 512, 20
_holding = threading.Lock()  # whoever lets the app go on must be the one who stopped it


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Blocks what is passed on: the app is born with them blocked, and the watch takes them one by one."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*PASSED_SIGNALS, *STOPS, signal.SIGCHLD})
    try:
        yield
    finally:
        while signal.sigtimedwait({*PASSED_SIGNALS, *STOPS}, 0):
            pass  # Ctrl-C reaches the app and this process; the app has answered it
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def all_stopped() -> Iterator[None]:
    """Every process of the apps that this process runs stands still meanwhile, and goes on afterwards.

    Raises Denied where those are too many to hold, or where new ones come all the time.
    """
    with _holding, _all_stopped():
        yield


@contextlib.contextmanager
def _all_stopped() -> Iterator[None]:
    held: dict[int, int] = {}
    try:
        for _ in range(STOP_PASSES):
            with running.lock:
                fresh = _descendants() - held.keys()
            if not fresh:
                break
            if len(held) + len(fresh) > MAX_STOPPED:
                raise Denied(f"The app has more than {MAX_STOPPED} processes.")
            _hold(fresh, held)
        else:
            raise Denied("The app starts processes faster than they can be held.")
        yield
    finally:
        for fd in held.values():
            _send(fd, signal.SIGCONT)
            os.close(fd)


def _descendants() -> set[int]:
    """Process ids of all that the running apps consist of, without the launcher's own child."""
    watches = (app for app in running.apps if isinstance(app, Watch))
    return {pid for watch in watches for pid in family(watch.process.pid)[1:]}


def _hold(pids: set[int], held: dict[int, int]) -> None:
    """Stops those that are still the apps' once their ids cannot be anybody else's any more."""
    opened = {}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            opened[pid] = os.pidfd_open(pid)
    with running.lock:
        theirs = _descendants()
    for pid, fd in opened.items():
        if pid in theirs:
            held[pid] = fd
            _send(fd, signal.SIGSTOP)
        else:
            os.close(fd)


def _send(fd: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(fd, number)


class Bound(Protocol):
    """What an app must not go over: looked at again at `next_check` (monotonic seconds)."""

    next_check: float

    def over(self) -> bool: ...
    def refusal(self) -> PearrtError: ...


class Watch:
    """A running app and its bounds. A context manager around a pidfd, so that no signal can meet another
    process.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        pid: int,
        *,
        timeout_s: float | None,
        meters: Sequence[Bound],
    ) -> None:
        self.process = process
        self.timeout_s = timeout_s
        self.deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self.meters = meters
        self._app = os.pidfd_open(pid)
        self._pid = pid

    def __enter__(self) -> Watch:
        with running.lock:
            running.apps.add(self)
        return self

    def __exit__(self, *exc: object) -> None:
        with running.lock:
            running.apps.discard(self)
            os.close(self._app)

    def signal(self, number: int) -> None:
        """Sends the app's first process a signal, if it is still there."""
        _send(self._app, number)

    def wait(self) -> int:
        """The exit status as subprocess gives it. Raises Denied for too much storage or memory,
        SandboxError for too long.
        """
        by_signal = threading.current_thread() is threading.main_thread()
        while self.process.poll() is None:
            (self._pass_signals if by_signal else self._sleep)()
            for meter in self.meters:
                if meter.over():
                    raise meter.refusal()
            if self.deadline is not None and time.monotonic() > self.deadline:
                raise SandboxError(f"The app was stopped: it did not end within {self.timeout_s:.0f} s.")
        return self.process.returncode

    def _pause_s(self) -> float | None:
        times = [] if self.deadline is None else [self.deadline]
        times += [meter.next_check for meter in self.meters]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _pass_signals(self) -> None:
        """Waits for a signal and hands it to the app; what the terminal sent has reached it by itself."""
        waited, pause_s = {*PASSED_SIGNALS, *STOPS, signal.SIGCHLD}, self._pause_s()
        info = signal.sigwaitinfo(waited) if pause_s is None else signal.sigtimedwait(waited, pause_s)
        if info is not None and info.si_signo != signal.SIGCHLD and info.si_code != _SI_KERNEL:
            self.signal(info.si_signo)
        if info is not None and info.si_signo in STOPS:
            self._stop()

    def _stop(self) -> None:
        """Stops all of the app and then this process, until the shell lets the job go on. While the person is
        asked something the app stands still already, and this process goes on. Raises as `all_stopped`."""
        deadline = time.monotonic() + STOP_GRACE_S
        while time.monotonic() < deadline and not _is_stopped(self._pid):
            time.sleep(STOP_POLL_S)
        if _holding.acquire(blocking=False):
            try:
                with _all_stopped():
                    os.kill(os.getpid(), signal.SIGSTOP)
            finally:
                _holding.release()

    def _sleep(self) -> None:
        """Elsewhere than in the main thread no signal arrives."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(self._pause_s())


def _is_stopped(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read(1024).rpartition(b")")[2].split()[0] in (b"T", b"Z")
    except OSError:
        return True


@contextlib.contextmanager
def flags_kept() -> Iterator[None]:
    """Gives the standard descriptors back as they were: O_NONBLOCK and its like are the open file's, so they
    would be left to the shell and to whoever else shares it."""
    import fcntl

    before = {fd: fcntl.fcntl(fd, fcntl.F_GETFL) for fd in range(3)}
    try:
        yield
    finally:
        for fd, flags in before.items():
            with contextlib.suppress(OSError):
                fcntl.fcntl(fd, fcntl.F_SETFL, flags)


@contextlib.contextmanager
def terminal_kept() -> Iterator[None]:
    """Gives the terminal back: its foreground group, its mode, its output if that was halted."""
    import termios

    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        yield
        return
    try:
        group, mode = os.tcgetpgrp(fd), termios.tcgetattr(fd)
        yield
        if group == os.getpgrp():
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
            with contextlib.suppress(OSError, termios.error):
                os.tcsetpgrp(fd, group)
                termios.tcflow(fd, termios.TCOON)
                termios.tcsetattr(fd, termios.TCSADRAIN, mode)
    finally:
        os.close(fd)
