"""The page's calls, put on a stream of frames: to the daemon (the app's channel) or to the app's backend. A
shell of the web room.

Frames are those of the app's channel (`sdk/frames.py`) both ways: `{"id": n, "method": name, …}` there,
`{"id": n, "result": …}` or `{"id": n, "error": {code, message, hint}}` back, anything without an id is an
event. Both ends are bounded: open calls, waiting events, time for an answer. What a page sends is the app's
own, so it gets no right that the app does not have: the daemon checks the channel's calls as if the app had
made them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from typing import Any

from pearrt.errors import LimitExceeded, PeerTimeout, ProtocolViolation, Unreachable, UserError
from pearrt.sdk import frames

MAX_OPEN_CALLS = 32
MAX_WAITING_EVENTS = 64
MAX_LISTENERS = 16
ANSWER_TIMEOUT_S = 60.0
_RESERVED = frozenset({"id", "method"})

Event = dict[str, Any]


class Bridge:
    """One stream, shared by all that the page calls at a time. An async context manager."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        self.name = name
        self._connection = connection
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._listeners: set[asyncio.Queue[Event]] = set()
        self._closed = False

    async def __aenter__(self) -> Bridge:
        self._reader, self._writer = await asyncio.open_connection(sock=self._connection)
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._writer.close()

    async def call(self, method: object, params: object) -> dict[str, Any]:
        """The answer as it came: `{"result": …}` or `{"error": …}`.

        Raises UserError for a call that is none, LimitExceeded for too many at a time, PeerTimeout,
        Unreachable where nobody is there to answer.
        """
        if not isinstance(method, str) or not isinstance(params, dict) or _RESERVED & params.keys():
            raise UserError("A call has a method and params, without `id` and `method` in them.")
        if self._closed:
            raise Unreachable(f"The {self.name} has ended.")
        if len(self._open) >= MAX_OPEN_CALLS:
            raise LimitExceeded(f"More than {MAX_OPEN_CALLS} calls at a time.")
        number = next(self._numbers)
        try:
            frame = frames.encode({**params, "id": number, "method": method})
        except frames.BadFrame as e:
            raise UserError(str(e)) from e
        waiting: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._open[number] = waiting
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                self._writer.write(frame)
                await self._writer.drain()
                return await waiting
        except TimeoutError as e:
            raise PeerTimeout(f"The {self.name} did not answer {method[:40]!a} in time.") from e
        except ConnectionError as e:
            raise Unreachable(f"The {self.name} has ended.") from e
        finally:
            self._open.pop(number, None)

    @contextlib.contextmanager
    def heard_by(self, queue: asyncio.Queue[Event]) -> Any:
        """While it is entered, `queue` gets every event, as far as there is room."""
        self._listeners.add(queue)
        try:
            yield
        finally:
            self._listeners.discard(queue)

    async def _read(self) -> None:
        decoder = frames.Decoder()
        try:
            while data := await self._reader.read(frames.MAX_FRAME_BYTES):
                for message in decoder.feed(data):
                    self._take(message)
        except (ConnectionError, frames.BadFrame):
            pass
        finally:
            self._closed = True
            for waiting in self._open.values():
                if not waiting.done():
                    waiting.set_exception(ConnectionResetError("ended"))

    def _take(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        if number is None:
            for queue in self._listeners:
                with contextlib.suppress(asyncio.QueueFull):
                    queue.put_nowait({"from": self.name, "event": message})
        elif isinstance(number, int) and (waiting := self._open.get(number)) and not waiting.done():
            if "result" in message or isinstance(message.get("error"), dict):
                waiting.set_result({key: message[key] for key in ("result", "error") if key in message})
            else:
                waiting.set_exception(ProtocolViolation(f"The {self.name} gave neither result nor error."))
