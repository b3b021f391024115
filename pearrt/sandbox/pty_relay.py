"""An app's own terminal, and the relay between it and the person's. A shell of the sandbox room.

The app has the slave of a pseudo-terminal as its controlling terminal, in a session of its own; nothing
inside holds the person's. What passes between them passes here:

    modes      `terminal_modes.py` says when the person's is raw, read and written; it is put back for every
               stop, every question and the end
    size       follows the person's
    buffers    one piece each way: who does not read holds the other side up
    a hang-up  of the person's terminal is one of the app's: the pseudo-terminal is closed
    a stop     of the app (Ctrl-Z, or by itself) is one of the job: the main thread gets a SIGTSTP
    the end    what the app said is written out first; a signal ends that

It runs in a thread that has every signal blocked, so the kernel refuses a read in the background (EIO) where
it would stop the job. The person's terminal is opened anew, as O_NONBLOCK would be the shell's too.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import termios
import threading
import time
from collections.abc import Collection, Iterator

from pearrt.errors import SandboxError
from pearrt.sandbox import terminal_modes as modes
from pearrt.sandbox.process_table import state
from pearrt.sandbox.terminal_modes import Mode, Part
from pearrt.threads import start_without_signals

PIECE_BYTES = 16384
PIECES_AT_ONCE = 32  # between two looks at anything else
LOOK_S, TICK_S, SHARED_TICK_S = 0.02, 0.25, 0.1
DRAIN_S = 1.0  # for output of what is being ended
_LOST = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Lost(Exception):
    """There is nothing more to relay."""


def terminals() -> list[int]:
    """Those of the standard descriptors that are one."""
    return [fd for fd in range(3) if os.isatty(fd)]


class Relay:
    """One app's terminal. `slave` is for the app, and closed by `start` at the latest; `name` is its path."""

    def __init__(self, fds: Collection[int], owner: int) -> None:
        """`fds` are the standard descriptors that are terminals: at least one. `owner` is the app's uid, 0
        for this process's own. Raises SandboxError where no pseudo-terminal can be made."""
        try:
            self._master, self.slave = os.openpty()
        except OSError as e:
            raise SandboxError(
                f"The app's terminal could not be made: {e.strerror}.",
                hint="Mount /dev/pts, or give the app pipes or files for input, output and errors.",
            ) from e
        self.name = os.ttyname(self.slave)
        self.fds = frozenset(fds)
        piped = any(
            stat.S_ISFIFO(os.fstat(fd).st_mode) or stat.S_ISSOCK(os.fstat(fd).st_mode) for fd in range(3)
        )
        self._part = Part(whole=0 in fds and not piped, reads=0 in fds)
        self._person = _opened_anew(min(fds, key=lambda fd: not _is_ours(fd)))
        self._woken, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._typed = self._said = b""
        self._share = modes.NOTHING
        self._kept: Mode | None = None  # the person's mode from before
        self._wanted_mode: Mode = []
        self._in_force: Mode | None = None
        self._is_raw = self._paused = self._ending = self._closed = self._suspends = False
        self._finished = False
        self._looked = 0.0
        self._last_said = 0.0
        self._size = (0, 0)
        self._app = 0
        self._stop_told = False
        self._by_signal = threading.current_thread() is threading.main_thread()
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="terminal", daemon=True)
        os.set_blocking(self._master, False)
        with contextlib.suppress(OSError, termios.error):
            first = modes.first(self._part, termios.tcgetattr(self._person))
            termios.tcsetattr(self.slave, termios.TCSANOW, first)
            self._follow_size()
        if owner:
            with contextlib.suppress(OSError):
                os.fchown(self.slave, owner, -1)

    def spawned(self) -> None:
        """The app has the slave; kept here it would hide that the app let go of it."""
        if self.slave >= 0:
            os.close(self.slave)
            self.slave = -1

    def start(self, app: int) -> None:
        """Begins. `app` is the id of its first process."""
        self._app = app
        start_without_signals(self._thread)

    # -- for other threads

    def pause(self) -> None:
        """The person's terminal as it was before, and nothing passes until `resume`."""
        with self._turn:
            if not self._closed:
                with contextlib.suppress(Lost):
                    self._look()
                    self._carry_output()
                self._paused = True
                self._give_back()

    def resume(self) -> None:
        with self._turn:
            self._paused = self._stop_told = False
            self._looked, self._last_said = 0.0, time.monotonic()
        self.wake()

    def retake(self) -> None:
        """After a SIGCONT: a shell may have changed the terminal's mode meanwhile."""
        with self._turn:
            self._is_raw, self._looked = False, 0.0
        self.wake()

    def wake(self) -> None:
        """Looks at everything again."""
        with self._turn, contextlib.suppress(BlockingIOError):
            if not self._finished:
                os.write(self._wake, b".")

    def asked_to_stop(self) -> bool:
        """Whether the SIGTSTP that came was this relay's: then the app has it already."""
        return self._stop_told

    def hang_up(self) -> bool:
        """Where the person's terminal is gone, so is the app's; gives whether."""
        with self._turn:
            if not self._closed and _poll(self._person, 0) & _LOST:
                self._close()
            return self._closed

    def finish(self, ending: Collection[int] = ()) -> None:
        """Writes out what the ended app said, puts the person's terminal back and closes both. A signal of
        `ending` cuts it short; a question that still stands is waited for."""
        self.spawned()
        if self._thread.ident is None:
            start_without_signals(self._thread)
        with self._turn:
            self._ending, self._last_said = True, time.monotonic()
        self.wake()
        main = threading.current_thread() is threading.main_thread()
        while self._thread.is_alive():
            self._thread.join(LOOK_S)
            if main and ending and signal.sigtimedwait(ending, 0) is not None:
                break
        with self._turn:
            self._close()
        self.wake()
        self._thread.join()
        with self._turn:  # a question may go on
            self._finished = True
            for fd in (self._person, self._woken, self._wake):
                os.close(fd)

    # -- the thread

    def _run(self) -> None:
        try:
            while True:
                with self._turn:
                    wanted, pause_s = self._wanted()
                    if self._closed:
                        return
                ready = _ready(wanted, pause_s)
                with self._turn:
                    self._serve(ready)
        except (Lost, OSError, termios.error):
            if self._by_signal and not self._ending:
                os.kill(os.getpid(), signal.SIGHUP)  # the main thread tells the app
        finally:
            with self._turn:
                self._close()

    def _wanted(self) -> tuple[dict[int, int], float | None]:
        """What to wait for, and how long at most."""
        wanted = {self._woken: select.POLLIN}
        if self._paused or self._closed:
            return wanted, None
        now = time.monotonic()
        if now - self._looked >= LOOK_S:
            self._look()
        if self._ending and not self._said and now - self._last_said > DRAIN_S:
            raise Lost  # somebody who does not die holds the slave
        wanted[self._person] = (select.POLLIN if self._share.reads and not self._typed else 0) | (
            select.POLLOUT if self._said and self._share.writes else 0
        )
        if events := (0 if self._said else select.POLLIN) | (select.POLLOUT if self._typed else 0):
            wanted[self._master] = events
        return wanted, TICK_S if self._part.whole and self._share.raw and not self._ending else SHARED_TICK_S

    def _serve(self, ready: dict[int, int]) -> None:
        if self._closed or self._paused:
            self._swallow_wakes(ready)
            return
        if ready.get(self._person, 0) & _LOST:
            raise Lost
        if not ready:
            self._look()
            self._notice_stop()
        if ready.get(self._person, 0) & select.POLLIN:
            self._read_person()
        self._swallow_wakes(ready)
        if self._typed:
            self._write_app()
        self._carry_output()

    def _swallow_wakes(self, ready: dict[int, int]) -> None:
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 4096)

    def _look(self) -> None:
        """Both terminals' modes, the foreground, the size; and what follows of them."""
        self._looked = time.monotonic()
        try:
            foreground = self._is_foreground()
            mode = termios.tcgetattr(self._person)
        except (OSError, termios.error) as e:
            raise Lost from e
        apps = termios.tcgetattr(self._master)
        before = self._kept if self._is_raw and self._kept is not None else mode
        self._share = modes.share(self._part, before, apps, foreground=foreground)
        if self._share.raw:
            self._take(mode, apps)
        elif self._is_raw:
            self._give_back(foreground=foreground)
        self._in_force = self._wanted_mode if self._is_raw else before
        self._follow_size()

    def _take(self, mode: Mode, apps: Mode) -> None:
        """Raw, from a mode that is kept; one that is raw already was left by this relay."""
        if not self._is_raw and (self._kept is None or not modes.is_raw(mode)):
            self._kept = mode
        assert self._kept is not None
        wanted = modes.raw(self._part, self._kept, apps)
        if not self._is_raw or wanted != self._wanted_mode:
            self._is_raw, self._wanted_mode = True, wanted
            self._set_mode(wanted)

    def _is_foreground(self) -> bool:
        """A terminal that is not this session's has no job control."""
        try:
            return os.tcgetpgrp(self._person) == os.getpgrp()
        except OSError:
            if _poll(self._person, 0) & _LOST:
                raise
            return True

    def _follow_size(self) -> None:
        size = termios.tcgetwinsize(self._person)
        if size != self._size:
            self._size = size
            termios.tcsetwinsize(self._master, size)

    def _give_back(self, *, foreground: bool | None = None) -> None:
        """In the background the mode is the shell's, which has set it."""
        if self._is_raw and self._kept is not None:
            self._is_raw = False
            with contextlib.suppress(OSError, termios.error):
                if self._is_foreground() if foreground is None else foreground:
                    self._set_mode(self._kept)

    def _set_mode(self, mode: Mode) -> None:
        """At once: to wait for the output would be to wait for the terminal."""
        termios.tcsetattr(self._person, termios.TCSANOW, mode)

    def _notice_stop(self) -> None:
        """A stop of the app is one of the job; the main thread knows how."""
        if self._suspends or (self._app and not self._stop_told and state(self._app) == "T"):
            self._suspends, self._stop_told = False, True
            if self._by_signal:
                os.kill(os.getpid(), signal.SIGTSTP)

    def _read_person(self) -> None:
        """What was typed, where it is the app's: whose the terminal is may just have changed."""
        self._look()
        if not self._share.reads:
            time.sleep(LOOK_S)  # another reads it
            return
        try:
            data = os.read(self._person, PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            if self._is_foreground():
                raise Lost from None
            return  # in the background by now
        if not data and (self._share.raw or _poll(self._person, 0) & _LOST):
            raise Lost
        mode = termios.tcgetattr(self._master)
        self._typed = data if self._share.raw else modes.ended_line(data, mode)
        self._suspends = (
            self._share.raw and modes.stops(data, mode) and os.tcgetpgrp(self._master) == self._app
        )

    def _write_app(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._typed = self._typed[os.write(self._master, self._typed) :]
        if not self._typed and self._suspends:
            self._notice_stop()

    def _carry_output(self) -> None:
        """From the app to the person, until either has enough."""
        for _ in range(PIECES_AT_ONCE):
            if self._said and not self._write_person():
                return
            try:
                said = os.read(self._master, PIECE_BYTES)
            except BlockingIOError:
                return
            except OSError:  # nobody has the slave any more
                self._close()
                return
            self._said = said if self._in_force is None else modes.once_ended(said, self._in_force)
            self._last_said = time.monotonic()

    def _write_person(self) -> bool:
        """Whether all was taken."""
        if not self._share.writes:
            return False
        try:
            self._said = self._said[os.write(self._person, self._said) :]
        except BlockingIOError:
            return False
        except OSError as e:
            raise Lost from e
        return not self._said

    def _close(self) -> None:
        """The person's terminal as it was; the app's is hung up."""
        if not self._closed:
            self._closed = True
            self._give_back()
            os.close(self._master)


def _is_ours(fd: int) -> bool:
    """Whether it is the terminal of this process's session."""
    try:
        return os.tcgetpgrp(fd) >= 0
    except OSError:
        return False


def _opened_anew(fd: int) -> int:
    """With flags of its own; where that is not allowed (a terminal of another user's), a copy."""
    for path in (["/dev/tty"] if _is_ours(fd) else []) + [f"/proc/self/fd/{fd}"]:
        with contextlib.suppress(OSError):
            return os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    ours = os.dup(fd)
    os.set_blocking(ours, False)  # `supervise.flags_kept` undoes it
    return ours


def _poll(fd: int, events: int) -> int:
    return _ready({fd: events}, 0).get(fd, 0)


def _ready(wanted: dict[int, int], pause_s: float | None) -> dict[int, int]:
    poll = select.poll()
    for fd, events in wanted.items():
        poll.register(fd, events)
    return dict(poll.poll(None if pause_s is None else pause_s * 1000))


@contextlib.contextmanager
def relayed(owner: int, ending: Collection[int]) -> Iterator[Relay | None]:
    """A relay where a standard descriptor is a terminal; it is finished afterwards."""
    fds = terminals()
    if not fds:
        yield None
        return
    relay = Relay(fds, owner)
    try:
        yield relay
    finally:
        relay.finish(ending)
