"""One running app as the daemon knows it: what was started, its channel, and who sits at its terminal."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pearrt.app.start import Start
from pearrt.daemon.wire import Wire
from pearrt.errors import Denied, PearrtError, PeerTimeout, from_dict

MAX_OPEN_REQUESTS = 16
NOBODY = "There is no terminal to ask the person on."  # `app/terminal.py` says so too


class Opened(NamedTuple):
    """A result with a file that came beside it; whoever gets it closes that."""

    result: Any
    file: io.FileIO


class Attendant:
    """The `pearrt run` that started an app: it has the person's terminal and desktop, which the daemon has
    not.

    The daemon asks (`{"id": n, "method": …}`), it answers as an app is answered.
    """

    def __init__(self, wire: Wire, first_id: int = 1) -> None:
        """`first_id` is above all that were used on this connection: a late answer must not fit a new
        question."""
        self.wire = wire
        self._ids = itertools.count(first_id)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    def next_id(self) -> int:
        """A number that no question on this connection bears."""
        return next(self._ids)

    def tell(self, method: str, **fields: Any) -> None:
        """Asks without waiting for the answer."""
        self.wire.post({"id": 0, "method": method, **fields})

    async def ask(self, method: str, *, timeout_s: float, **fields: Any) -> Any:
        """The answer, an `Opened` where a file came beside it. Raises what the attendant raised, PeerTimeout,
        or Denied where it has gone."""
        if len(self._waiting) >= MAX_OPEN_REQUESTS:
            raise Denied("Too much is being asked of the person at once.", hint="Try again later.")
        number = next(self._ids)
        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(timeout_s):
                await self.wire.answer({"id": number, "method": method, **fields})
                return await answer
        except TimeoutError as e:
            raise PeerTimeout("The person did not answer in time.") from e
        finally:
            del self._waiting[number]

    def answered(self, message: dict[str, Any], files: Sequence[io.FileIO] = ()) -> None:
        """Takes a frame that came from the attendant, and what came beside it."""
        with contextlib.ExitStack() as unused:
            for file in files:
                unused.callback(file.close)
            number = message.get("id")
            waiting = self._waiting.get(number) if isinstance(number, int) else None
            if waiting is None or waiting.done():
                return
            error, result = message.get("error"), message.get("result")
            if isinstance(error, dict):
                waiting.set_exception(from_dict({key: str(value) for key, value in error.items()}))
            elif len(files) == 1:
                unused.pop_all()
                waiting.set_result(Opened(result, files[0]))
            else:
                waiting.set_result(result)

    def gone(self) -> None:
        """Ends what still waits for it."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Denied("Nobody sits at the app's terminal any more."))


@dataclass(slots=True, eq=False)
class Instance:
    """One open channel. `restarting`: the app asked to be started again when it ends. `streams` are its
    connections through the proxy, each with the `host:port` it leads to; `calls` those that are being
    answered, each with its id; `circles` the names of those that it has joined."""

    start: Start
    wire: Wire
    attendant: Attendant | None = None
    restarting: bool = False
    streams: dict[asyncio.Task[None], str] = field(default_factory=dict)
    calls: dict[asyncio.Task[None], Any] = field(default_factory=dict)
    circles: set[str] = field(default_factory=set)

    @property
    def app_key(self) -> bytes:
        return self.start.app_key

    def tell(self, event: dict[str, Any]) -> None:
        """Sends an event, unless the app leaves too many unread."""
        self.wire.post(event)

    def person(self) -> Attendant:
        """Who can ask the person. Raises Denied where the app was started without anybody."""
        if self.attendant is None:
            raise Denied(NOBODY, hint="Start the app with `pearrt run`.")
        return self.attendant


def as_error(error: PearrtError) -> dict[str, Any]:
    """The answer that tells an error."""
    return {"error": error.as_dict()}
