"""Beside a running app: what the daemon needs of the person, their terminal and their desktop.

`pearrt run` opens a second connection with the other half of its token and answers on it, in a thread of its
own, for as long as the app runs. Frames are those of the app's channel; the daemon asks:

    open_url   url                opens a page, after the person's yes on the terminal
    notify     title, body        shows a notification
    restart                       the app will end by itself and wants to be started again then
    stop       reason             the app has to end: SIGTERM, and after a while SIGKILL

The thread has every signal blocked: they are the waiting main thread's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

from pearrt.errors import PearrtError, UserError
from pearrt.sdk import frames

END_GRACE_S = 10.0
ASK_S = 60.0
SLOW = ("open_url", "notify")  # each in a thread of its own: `stop` does not wait for a person


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
        }

    def __enter__(self) -> Attendance:
        if self.connection is not None:
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            self._thread = threading.Thread(target=self._attend, name="attendant", daemon=True)
            self._thread.start()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
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
        answer = frames.encode(self._answer_to(message))
        with contextlib.suppress(OSError), self._sending:
            self.connection.sendall(answer)

    def _answer_to(self, message: dict[str, Any]) -> dict[str, Any]:
        number, method = message.get("id"), self._methods.get(str(message.get("method")))
        try:
            if method is None:
                raise UserError("This version of `pearrt run` cannot do that.", hint="Update pearrt.")
            return {"id": number, "result": method(message)}
        except PearrtError as e:
            return {"id": number, "error": e.as_dict()}

    # -- what is asked

    def _open_url(self, fields: dict[str, Any]) -> bool:
        from pearrt.app.desktop import open_page
        from pearrt.app.terminal import ask

        url = str(fields["url"])
        with self._asking:
            if not ask(f"{self.app_name} asks to open {url} in your browser. Open it?", timeout_s=ASK_S):
                return False
        open_page(url)
        return True

    def _notify(self, fields: dict[str, Any]) -> None:
        from pearrt.app.desktop import notify

        notify(self.app_name, str(fields["title"]), str(fields["body"]))

    def _restart(self, _: dict[str, Any]) -> None:
        self.restarting = True

    def _stop(self, fields: dict[str, Any]) -> None:
        self.stopped, self.restarting = str(fields["reason"]), False
        self._signal(signal.SIGTERM)
        threading.Thread(target=self._kill_later, name="end", daemon=True).start()

    def _kill_later(self) -> None:
        if not self._ended.wait(END_GRACE_S):
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        from pearrt.sandbox.supervise import signal_running

        if not self._ended.is_set() and signal_running(number) == 0:
            os.kill(os.getpid(), signal.SIGTERM)  # nothing in a sandbox: a page that this process serves
