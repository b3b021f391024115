"""Beside a running app: what the daemon needs of the person, their terminal and their desktop.

`pearrt run` opens a second connection with the other half of its token and answers on it, in a thread of its
own, for as long as the app runs. Frames are those of the app's channel; the daemon asks:

    open_url   url                opens a page, after the person's yes on the terminal
    notify     title, body        shows a notification
    files.open purpose, mode, name     lets the person choose a file; gives {name} and passes a descriptor
    clipboard.write  text         puts text on the clipboard
    clipboard.read                the text on it, after the person's yes on the terminal
    restart                       the app will end by itself and wants to be started again then
    stop       reason             the app has to end: SIGTERM, and after a while SIGKILL

The thread has every signal blocked: they are the waiting main thread's.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pearrt.errors import Denied, LimitExceeded, PearrtError, Unsupported, UserError
from pearrt.sdk import frames
from pearrt.threads import start_without_signals

END_GRACE_S = 10.0
SIGTERM, SIGKILL = 15, 9  # the numbers that `sandbox/running.py` takes everywhere
ASK_S = 60.0
SHOWN_URL_CHARACTERS = 320  # the longest host and some of what follows: no more than a screen holds
SLOW = (
    "open_url",
    "notify",
    "files.open",
    "clipboard.write",
    "clipboard.read",
)  # each in a thread of its own: `stop` does not wait for a person


@dataclass(frozen=True, slots=True)
class Opened:
    """A result that a descriptor goes along with; whoever sends it closes that."""

    result: dict[str, Any]
    fd: int


class Attendance:
    """A context manager around one run. `connection` is None where nobody attends: then nothing happens.

    Afterwards `restarting` and `stopped` (the reason, or "") say how it ended.
    """

    def __init__(self, connection: socket.socket | None, app_name: str) -> None:
        self.connection = connection
        self.app_name = app_name
        self.restarting = False
        self.stopped = ""
        self._ended = threading.Event()
        self._asking = threading.Lock()
        self._sending = threading.Lock()
        self._thread: threading.Thread | None = None
        self._methods: dict[str, Callable[[dict[str, Any]], Any]] = {
            "open_url": self._open_url,
            "notify": self._notify,
            "restart": self._restart,
            "stop": self._stop,
            "files.open": self._open_file,
            "clipboard.write": self._write_clipboard,
            "clipboard.read": self._read_clipboard,
        }

    def __enter__(self) -> Attendance:
        if self.connection is not None:
            self._thread = threading.Thread(target=self._attend, name="attendant", daemon=True)
            start_without_signals(self._thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self.connection is not None and self._thread is not None:
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            self._thread.join(1.0)  # it may still wait for an answer; the process does not
            self.connection.close()

    def _attend(self) -> None:
        assert self.connection is not None
        decoder = frames.Decoder()
        with contextlib.suppress(OSError, frames.BadFrame):
            while data := self.connection.recv(frames.MAX_FRAME_BYTES):
                for message in decoder.feed(data):
                    if message.get("method") in SLOW:
                        threading.Thread(target=self._answer, args=[message], daemon=True).start()
                    else:
                        self._answer(message)

    def _answer(self, message: dict[str, Any]) -> None:
        assert self.connection is not None
        result = self._result_of(message)
        fd = result.fd if isinstance(result, Opened) else -1
        try:
            self._send(message.get("id"), result.result if isinstance(result, Opened) else result, fd)
        finally:
            if fd >= 0:
                os.close(fd)

    def _send(self, number: Any, result: Any, fd: int) -> None:
        assert self.connection is not None
        if isinstance(result, PearrtError):
            answer = {"id": number, "error": result.as_dict()}
        else:
            answer = {"id": number, "result": result}
        try:
            data = frames.encode(answer)
        except frames.BadFrame:
            data = frames.encode(
                {"id": number, "error": LimitExceeded("It does not fit into a frame.").as_dict()}
            )
        with contextlib.suppress(OSError), self._sending:
            if fd >= 0:  # beside the frame's first byte
                data = data[socket.send_fds(self.connection, [data[:1]], [fd]) :]
            self.connection.sendall(data)

    def _result_of(self, message: dict[str, Any]) -> Any:
        """What the method gives, or the PearrtError that it raised."""
        method = self._methods.get(str(message.get("method")))
        try:
            if method is None:
                raise UserError("This version of `pearrt run` cannot do that.", hint="Update pearrt.")
            return method(message)
        except PearrtError as e:
            return e
        except ImportError:  # of what Windows' Python lacks: terminals, descriptors
            return Unsupported("That is not done on this system.")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One question at a time: others do not wait in line for a person who answers none."""
        if not self._asking.acquire(blocking=False):
            raise LimitExceeded("The person is being asked something else.", hint="Ask again afterwards.")
        try:
            yield
        finally:
            self._asking.release()

    # -- what is asked

    def _open_url(self, fields: dict[str, Any]) -> bool:
        from pearrt.app.desktop import open_page
        from pearrt.app.terminal import ask

        url = str(fields["url"])
        with self._alone():
            if not ask(
                f"{self.app_name} asks to open {_shown(url)} in your browser. Open it?", timeout_s=ASK_S
            ):
                return False
        open_page(url)
        return True

    def _notify(self, fields: dict[str, Any]) -> None:
        from pearrt.app.desktop import notify

        notify(self.app_name, str(fields["title"]), str(fields["body"]))

    def _open_file(self, fields: dict[str, Any]) -> Opened:
        from pearrt.app import opening, picker
        from pearrt.paths import Home

        mode, home = str(fields["mode"]), Home.from_environment()
        with self._alone():
            path = picker.choose(self.app_name, str(fields["purpose"]), mode, str(fields["name"]))
        fd = opening.open_chosen(path, mode, kept=(home.data, home.config))
        return Opened({"name": os.path.basename(path)}, fd)

    def _write_clipboard(self, fields: dict[str, Any]) -> None:
        from pearrt.app import clipboard

        clipboard.write(clipboard.checked_text(str(fields["text"])))

    def _read_clipboard(self, _: dict[str, Any]) -> str:
        from pearrt.app import clipboard
        from pearrt.app.terminal import ask

        with self._alone():
            if not ask(
                f"{self.app_name} asks to read the text on your clipboard. Allow it?", timeout_s=ASK_S
            ):
                raise Denied("The person did not want the clipboard read.")
        return clipboard.read()

    def _restart(self, _: dict[str, Any]) -> None:
        self.restarting = True

    def _stop(self, fields: dict[str, Any]) -> None:
        self.stopped, self.restarting = str(fields["reason"]), False
        self._signal(SIGTERM)
        threading.Thread(target=self._kill_later, name="end", daemon=True).start()

    def _kill_later(self) -> None:
        if not self._ended.wait(END_GRACE_S):
            self._signal(SIGKILL)

    def _signal(self, number: int) -> None:
        from pearrt.sandbox.running import signal_running

        if not self._ended.is_set() and signal_running(number) == 0:
            os.kill(os.getpid(), SIGTERM)  # nothing in a sandbox: a page that this process serves


def _shown(url: str) -> str:
    """Its beginning, with the host, is not pushed off the screen by its end."""
    left = len(url) - SHOWN_URL_CHARACTERS
    return url if left <= 0 else f"{url[:SHOWN_URL_CHARACTERS]}\u2026 (and {left} characters more)"
