"""What the launcher does while the app runs: passes signals on, watches its storage, stops with it.
A shell of the sandbox room.

The app is no member of the person's job: what the terminal sends to that is passed on to all of the app's own
first group. A stop of the job (Ctrl-Z, or the kernel's when a member of it reads the terminal in the
background) is blocked here: the launcher first stops all of the app, puts the terminal back, then stops
itself. So is a stop of the app, which its relay notices.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from pearrt.errors import Denied, PearrtError, SandboxError
from pearrt.sandbox import running
from pearrt.sandbox.memory import family
from pearrt.sandbox.process_table import has_job_control, state

if TYPE_CHECKING:
    from pearrt.sandbox.pty_relay import Relay

PASSED_SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
TOLD = (signal.SIGCONT, signal.SIGWINCH)  # the terminal may not be what it was
STOP_GRACE_S, STOP_POLL_S = 0.3, 0.01  # for an app that tidies its screen before it stops
_SI_KERNEL = 0x80
MAX_STOPPED, STOP_PASSES = 512, 20
_HELD = {*PASSED_SIGNALS, *STOPS, *TOLD, signal.SIGCHLD}
_asking = threading.Lock()  # a question and a stop of the job do not mix


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Blocks what is passed on: the app is born with them blocked, and the watch takes them one by one."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        while signal.sigtimedwait({*PASSED_SIGNALS, *STOPS}, 0):
            pass  # meant for an app that has ended
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def terminal_free() -> Iterator[None]:
    """Nothing passes between the person's terminal and the apps that this process runs meanwhile, and the job
    is not stopped."""
    with _asking:
        with running.lock:
            relays = [app.relay for app in running.apps if isinstance(app, Watch) and app.relay is not None]
        for relay in relays:
            relay.pause()
        try:
            yield
        finally:
            for relay in relays:
                relay.resume()


@contextlib.contextmanager
def _all_stopped() -> Iterator[None]:
    """Every process of the apps that this process runs stands still meanwhile, and goes on afterwards.

    Raises Denied where those are too many to hold, or where new ones come all the time.
    """
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
        relay: Relay | None = None,
    ) -> None:
        self.process = process
        self.relay = relay
        self.timeout_s = timeout_s
        self.deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self.meters = meters
        self._app = os.pidfd_open(pid)
        self._pid = pid
        self._hung_up = False

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

    def signal_group(self, number: int) -> None:
        """Sends a signal to the group that the app's first process leads, as a terminal does to its job."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if state(self._pid) not in ("", "Z"):
                os.killpg(self._pid, number)

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
        """Waits for a signal and hands it to the app."""
        pause_s = self._pause_s()
        info = signal.sigwaitinfo(_HELD) if pause_s is None else signal.sigtimedwait(_HELD, pause_s)
        if info is None or info.si_signo == signal.SIGCHLD:
            return
        if info.si_signo in TOLD:
            self._look_again(info.si_signo)
        elif info.si_signo in STOPS:
            self._stop(info.si_signo)
        elif info.si_signo == signal.SIGHUP and self.relay is not None and self.relay.hang_up():
            self._hang_up()
        else:
            (self.signal_group if info.si_code == _SI_KERNEL else self.signal)(info.si_signo)

    def _hang_up(self) -> None:
        """The terminal's end is told once, whoever tells it here."""
        if not self._hung_up:
            self._hung_up = True
            self.signal_group(signal.SIGHUP)

    def _look_again(self, number: int) -> None:
        if self.relay is not None:
            (self.relay.retake if number == signal.SIGCONT else self.relay.wake)()

    def _stop(self, number: int) -> None:
        """Stops all of the app and then this process, until the shell lets the job go on. While the person is
        asked something nothing is stopped. Raises as `_all_stopped`."""
        own = self.relay is not None and self.relay.asked_to_stop()  # by the app's terminal, or by itself
        if not own and number == signal.SIGTSTP:
            self.signal_group(number)
        deadline = time.monotonic() + STOP_GRACE_S
        while time.monotonic() < deadline and state(self._pid) not in ("T", "Z", ""):
            time.sleep(STOP_POLL_S)
        if self.process.poll() is None and _asking.acquire(blocking=False):
            try:
                with self._released(), _all_stopped():
                    _stop_job(others=own)
            finally:
                _asking.release()

    @contextlib.contextmanager
    def _released(self) -> Iterator[None]:
        """The terminal is the shell's meanwhile."""
        if self.relay is not None:
            self.relay.pause()
        try:
            yield
        finally:
            if self.relay is not None:
                self.relay.resume()

    def _sleep(self) -> None:
        """Elsewhere than in the main thread no signal arrives."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(self._pause_s())


def _stop_job(*, others: bool) -> None:
    """This process stops, and with it the `others` of its job, which no signal of the terminal has reached. A
    job that nobody would let go on does not stop."""
    if has_job_control():
        if others:
            os.killpg(os.getpgrp(), signal.SIGTSTP)  # here it is blocked, and forgotten with the next SIGCONT
        os.kill(os.getpid(), signal.SIGSTOP)


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
