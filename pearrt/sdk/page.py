"""The page of a `web` app, from its backend: answers to what the page asks, events to it.

    def add(text: str) -> int:
        ...
    sdk.page.serve({"list": notes, "add": add})

In the page, `await ask("add", { text: "hello" })` calls `add(text="hello")` and gets what that returns, as
JSON. An `sdk.Error` that it raises is thrown there, with `code` and `hint`. `tell` sends an event to every
page that is open, to who listens by `on("backend", …)`. An answer, like an event, fits into a frame (64 KiB).
"""

from __future__ import annotations

import contextlib
import inspect
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from pearrt.sdk import frames
from pearrt.sdk.channel import inherited
from pearrt.sdk.errors import Error, NotConnected

READ_BYTES = 64 * 1024
FAILED = Error("The app failed to answer.", hint="Its terminal shows why.")

Call = dict[str, Any]
Methods = Mapping[str, Callable[..., Any]]


def serve(methods: Methods) -> None:
    """Answers the page's calls one after the other, until the page's server ends or by Ctrl-C.

    A function gets the call's parameters by name. What it raises beside `sdk.Error` is shown on the terminal,
    and the next call is answered. Raises NotConnected where the app has no page.
    """
    page = connected()
    with contextlib.suppress(KeyboardInterrupt):
        for call in page.calls():
            page.answer(call, partial(_result, methods, call))


def _result(methods: Methods, call: Call) -> Any:
    return bound(methods, call)()


def tell(event: Mapping[str, Any]) -> None:
    """Sends an event to every open page, from any thread. Raises NotConnected, sdk.Error for what is not JSON
    or too much for a frame."""
    connected().send({name: value for name, value in event.items() if name != "id"})


class Page:
    """The stream to the page's server, which is its own from now on."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def calls(self) -> Iterator[Call]:
        """The page's calls, until the stream ends."""
        decoder = frames.Decoder()
        with contextlib.suppress(ConnectionError, frames.BadFrame):
            while data := self._connection.recv(READ_BYTES):
                yield from decoder.feed(data)

    def answer(self, call: Call, result: Callable[[], Any]) -> None:
        """Sends what `result` gives, or the error that it raises."""
        try:
            self.send({"id": call.get("id"), "result": result()})
        except NotConnected:
            return
        except Error as e:
            self._refuse(call, e)
        except Exception:
            import traceback

            traceback.print_exc()
            self._refuse(call, FAILED)

    def _refuse(self, call: Call, error: Error) -> None:
        told = {"code": error.code, "message": error.message, "hint": error.hint}
        with contextlib.suppress(NotConnected):
            self.send({"id": call.get("id"), "error": told})

    def send(self, message: Mapping[str, Any]) -> None:
        """Raises NotConnected, sdk.Error for what does not fit into a frame."""
        try:
            frame = frames.encode(message)
        except frames.BadFrame as e:
            raise Error(str(e), code="limit-exceeded") from e
        try:
            with self._sending:
                self._connection.sendall(frame)
        except OSError as e:
            raise NotConnected(f"The page has gone: {e.strerror}.", code="unreachable") from e


def bound(methods: Methods, call: Call) -> Callable[[], Any]:
    """The function that a call names, with its parameters. Raises sdk.Error where they do not fit."""
    name = str(call.get("method"))
    method = methods.get(name)
    if method is None:
        known = ", ".join(methods)
        raise Error(f"The app answers no {name[:40]!a}.", code="bad-call", hint=f"It knows {known}.")
    parameters = {key: value for key, value in call.items() if key not in ("id", "method")}
    try:
        given = inspect.signature(method).bind(**parameters)
    except TypeError as e:
        raise Error(f"{name}: {e}.", code="bad-call") from e
    return partial(method, *given.args, **given.kwargs)


_lock = threading.Lock()
_page: Page | None = None
_forked = False


def connected() -> Page:
    """This process's page, opened at the first use. Raises NotConnected where there is none."""
    global _page  # noqa: PLW0603 - a process has one
    with _lock:
        if _page is None:
            _page = Page(_inherited())
        return _page


def _inherited() -> socket.socket:
    return inherited(
        "PEARRT_PAGE_FD",
        forked=_forked,
        elsewhere=NotConnected(
            "The page belongs to another process of the app, which started this one.",
            code="unreachable",
            hint="Answer and tell it there.",
        ),
        nowhere=NotConnected(
            "This app has no page to answer.",
            code="unreachable",
            hint='It is the backend of an app of kind "web", started with `pearrt run`.',
        ),
    )


def _after_fork() -> None:
    """Two writers would tear the frames apart."""
    global _page, _forked, _lock
    _page, _forked, _lock = None, True, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
