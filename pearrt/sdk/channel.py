"""The one connection to the daemon: calls from any thread, answers in any order, events to whoever listens.

One thread reads, so that sync and asyncio callers share the channel; a second one, started for the first
listener, calls the listeners, which may therefore call the daemon themselves; a third one, started for the
first asyncio caller, writes, as the daemon may let a call wait. A process forked from this one
has no channel: two readers would tear the frames apart.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from pearrt.sdk import frames
from pearrt.sdk.errors import Error, NotConnected, TooMuch, from_fields

READ_BYTES = 64 * 1024
MAX_PASSED = 4
MAX_UNREAD_EVENTS = 256

Listener = Callable[[dict[str, Any]], None]


class Reply:
    """What a call is answered: a result, perhaps with a connected socket or an open file, or an error."""

    def __init__(self, result: Any = None, error: Error | None = None) -> None:
        self._result = result
        self._passed = -1
        self.error = error

    def result(self) -> Any:
        """Raises the error, where it is one."""
        if self.error is not None:
            raise self.error
        return self._result

    def socket(self) -> socket.socket:
        """The socket that came along. Raises as `result`."""
        return socket.socket(fileno=self.file())

    def file(self) -> int:
        """The descriptor that came along, the caller's from now on. Raises as `result`."""
        self.result()
        if self._passed < 0:
            raise Error("The daemon passed no connection and no file.")
        fd, self._passed = self._passed, -1
        return fd

    def take(self, fd: int) -> None:
        """A descriptor has come along."""
        self._passed = fd

    def drop(self) -> None:
        """Closes what nobody took."""
        if self._passed >= 0:
            os.close(self.file())


class Channel:
    """Speaks frames over a connected stream socket, which is its own from now on."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._ids = itertools.count(1)
        self._sending = threading.Lock()
        self._lock = threading.Lock()
        self._waiting: dict[int, Callable[[Reply], None]] = {}
        self._listeners: list[Listener] = []
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue(MAX_UNREAD_EVENTS)
        self._teller: threading.Thread | None = None
        self._outgoing: queue.SimpleQueue[tuple[int, bytes] | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._ended: Error | None = None
        self._reader = threading.Thread(target=self._read, name="pearrt-channel", daemon=True)
        self._reader.start()

    def submit(self, method: str, done: Callable[[Reply], None], **fields: Any) -> int:
        """Makes a call; `done(reply)` runs in the reading thread. Gives its number, for `forget`.

        Raises NotConnected, or TooMuch for fields that do not fit into a frame.
        """
        number, frame = self._begin(method, done, fields)
        try:
            with self._sending:
                self._connection.sendall(frame)
        except OSError as e:
            self.forget(number)
            raise NotConnected(f"The daemon has gone: {e.strerror}.", code="unreachable") from e
        return number

    def post(self, method: str, done: Callable[[Reply], None], **fields: Any) -> int:
        """As `submit`, without waiting until the daemon reads it: for who may not block. These calls go out
        in their order."""
        number, frame = self._begin(method, done, fields)
        with self._lock:
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="pearrt-calls", daemon=True)
                self._writer.start()
        self._outgoing.put((number, frame))
        return number

    def _begin(self, method: str, done: Callable[[Reply], None], fields: dict[str, Any]) -> tuple[int, bytes]:
        number = next(self._ids)
        try:
            frame = frames.encode({"id": number, "method": method, **fields})
        except frames.BadFrame as e:
            raise TooMuch(str(e), code="limit-exceeded") from e
        with self._lock:
            if self._ended is not None:
                raise self._ended
            self._waiting[number] = done
        return number, frame

    def forget(self, number: int) -> None:
        """Nobody waits for this answer any more."""
        with self._lock:
            self._waiting.pop(number, None)

    def call(self, method: str, *, timeout_s: float | None = None, **fields: Any) -> Reply:
        """Makes a call and waits for its answer. Raises Error."""
        answered = threading.Event()
        replies: list[Reply] = []

        def done(reply: Reply) -> None:
            replies.append(reply)
            answered.set()

        number = self.submit(method, done, **fields)
        if not answered.wait(timeout_s):
            self.forget(number)
            if not replies:
                raise Error(f"{method} was not answered in {timeout_s} s.", code="peer-timeout")
        replies[0].result()
        return replies[0]

    def listen(self, listener: Listener) -> None:
        """Calls `listener` with every event from now on, in a thread of its own; the last one is `ended`.
        Raises NotConnected where that has been already."""
        with self._lock:
            if self._ended is not None:
                raise self._ended
            self._listeners.append(listener)
            if self._teller is None:
                self._teller = threading.Thread(target=self._tell, name="pearrt-events", daemon=True)
                self._teller.start()

    def unlisten(self, listener: Listener) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._listeners.remove(listener)

    def close(self) -> None:
        """Ends the channel; what waits is told so."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._reader.join()

    # -- threads

    def _write(self) -> None:
        while (call := self._outgoing.get()) is not None:
            number, frame = call
            with self._lock:
                forgotten = number not in self._waiting
            if forgotten:
                continue
            with contextlib.suppress(OSError), self._sending:  # then the reader ends all that waits
                self._connection.sendall(frame)

    def _read(self) -> None:
        decoder, passed = frames.Decoder(), deque[int]()
        reason = "The daemon has gone."
        try:
            while True:
                data, fds, _, _ = socket.recv_fds(
                    self._connection, READ_BYTES, MAX_PASSED, socket.MSG_CMSG_CLOEXEC
                )
                passed += fds
                if not data:
                    break
                for message in decoder.feed(data):
                    self._take(message, passed)
        except (OSError, frames.BadFrame) as e:
            reason = f"The daemon has gone: {e}"
        for fd in passed:
            os.close(fd)
        self._end(NotConnected(reason, code="unreachable"))

    def _take(self, message: dict[str, Any], passed: deque[int]) -> None:
        if "event" in message:
            self._queue(message)
            return
        result, error = message.get("result"), message.get("error")
        reply = Reply(result, error=from_fields(error) if isinstance(error, dict) else None)
        brings = isinstance(result, dict) and True in (result.get("socket"), result.get("file"))
        if brings and passed:
            reply.take(passed.popleft())
        with self._lock:
            done = self._waiting.pop(message.get("id", 0), None)
        if done is None:
            reply.drop()
        else:
            done(reply)

    def _queue(self, event: dict[str, Any] | None) -> None:
        """Events that nobody takes push out the oldest."""
        if self._teller is None and event is not None:
            return
        while True:
            try:
                self._events.put_nowait(event)
                return
            except queue.Full:
                with contextlib.suppress(queue.Empty):
                    self._events.get_nowait()

    def _end(self, error: Error) -> None:
        with self._lock:
            self._ended = error
            waiting, self._waiting = list(self._waiting.values()), {}
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)  # who is sending fails at once
        with self._sending:
            self._connection.close()
        self._outgoing.put(None)
        self._queue({"event": "ended"})
        self._queue(None)
        for done in waiting:
            done(Reply(error=error))

    def _tell(self) -> None:
        while (event := self._events.get()) is not None:
            with self._lock:
                listeners = list(self._listeners)
            for listener in listeners:
                listener(event)


_lock = threading.Lock()
_channel: Channel | None = None
_forked = False


def channel() -> Channel:
    """This process's channel, opened at the first use. Raises NotConnected where there is none."""
    global _channel  # noqa: PLW0603 - a process has one
    with _lock:
        if _channel is None:
            _channel = Channel(_inherited())
        return _channel


def _inherited() -> socket.socket:
    return inherited(
        "PEARRT_CHANNEL_FD",
        forked=_forked,
        elsewhere=NotConnected(
            "The channel belongs to another process of the app, which started this one.",
            code="unreachable",
            hint="Make the call there, and pass on what comes of it.",
        ),
        nowhere=NotConnected(
            "This is no sandbox.", code="unreachable", hint="Start the app with `pearrt run ./folder`."
        ),
    )


def inherited(
    variable: str, *, forked: bool, elsewhere: NotConnected, nowhere: NotConnected
) -> socket.socket:
    """The socket whose number the launcher put into `variable`, for this process alone. Raises `elsewhere`
    where it is another process's, `nowhere` where there is none."""
    if forked:
        raise elsewhere
    text = os.environ.get(variable, "")
    if not text.isdecimal():
        raise nowhere
    try:
        connection = socket.socket(fileno=int(text))
    except OSError as e:
        raise elsewhere from e
    connection.set_inheritable(False)
    return connection


def _after_fork() -> None:
    global _channel, _forked, _lock
    _channel, _forked, _lock = None, True, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
