"""The apps' way to the daemon: one stream per running app, whose identity is fixed when it is opened.

`pearrt run` gets a one-time token for one start of an app, connects, presents it and hands the connection on
to the sandbox. What arrives on it afterwards is that app's, whatever it claims. While the connection lives,
the app counts as running. With the token's other half (`attendant_token`) `pearrt run` opens a second
connection, on which the daemon asks it for what needs the person: see `attendant.py` of the app room.

Frames, both ways: u32 big-endian length, then that many bytes of JSON, at most 64 KiB (`sdk/frames.py`). The
app sends `{"id": n, "method": name, …}` and gets `{"id": n, "result": …}` or `{"id": n, "error": {code,
message, hint}}`, in any order; the daemon sends `{"event": name, …}` unasked: `update-ready` {version, notes,
security, widens}, `permission-revoked` {permission}, `revoked` {version, action, reason}. Methods and who may
call them: `app_calls.py`.

For whoever bridges a channel (a browser page has no socket): `Channels(socket, answer=…, changed=…)`,
`issue(start)`, and the protocol above; an answer with `"socket": true` brings a descriptor along and cannot
be bridged.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from pearrt.app.start import Start
from pearrt.daemon.instance import Attendant, Instance, as_error
from pearrt.daemon.wire import Wire
from pearrt.errors import LimitExceeded, PearrtError, UserError

log = logging.getLogger(__name__)

TOKEN_BYTES = 32
TOKEN_TTL_S = 600.0  # how long the person may ponder the question before the app starts
TOKEN_TIMEOUT_S = 10.0
MAX_TOKENS = 1024
MAX_CHANNELS = 256
MAX_GREETING = 64  # connections that have not shown a token yet
MAX_OPEN_CALLS = 16  # of one app, answered at the same time
MAX_ID_CHARACTERS = 64
MAX_ID = 1 << 53

Answered = tuple[Any, socket.socket | None]
Answer = Callable[[Instance, str, dict[str, Any]], Awaitable[Answered]]


def attendant_token(token: bytes) -> bytes:
    """The half that stays with `pearrt run`: it opens the attendant's connection while the channel is
    open."""
    return hashlib.sha256(b"pearrt-attendant-v1\0" + token).digest()


class Channels:
    """All open channels of a daemon; an async context manager that listens while it is open.

    `answer(instance, method, fields)` gives the result of an app's call and, where there is one, a socket to
    pass along; it raises PearrtError. `changed()` hears of every start and end, `ended(instance)` of ends.
    """

    def __init__(
        self,
        path: Path,
        *,
        answer: Answer,
        changed: Callable[[], None],
        ended: Callable[[Instance], None] = lambda _: None,
    ) -> None:
        self.socket = path
        self.answer = answer
        self.changed = changed
        self.ended = ended
        self.open: set[Instance] = set()
        self._tokens: dict[bytes, tuple[Start, float]] = {}
        self._attendable: dict[bytes, Instance] = {}
        self._greeting = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Channels:
        with contextlib.suppress(FileNotFoundError):
            self.socket.unlink()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        self._listener.bind(str(self.socket))
        self.socket.chmod(0o600)
        self._listener.listen(64)
        self._spawn(self._accept())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listener.close()

    # -- what the daemon does with them

    def issue(self, start: Start) -> bytes:
        """A token that opens one channel for this start, once."""
        now = time.monotonic()
        for token in [token for token, (_, expiry) in self._tokens.items() if expiry < now]:
            del self._tokens[token]
        while len(self._tokens) >= MAX_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        token = secrets.token_bytes(TOKEN_BYTES)
        self._tokens[token] = (start, now + TOKEN_TTL_S)
        return token

    def of(self, app_key: bytes) -> Iterator[Instance]:
        """The running instances of the app."""
        return (instance for instance in list(self.open) if instance.app_key == app_key)

    def running(self, app_key: bytes) -> int:
        """How many instances of the app run now."""
        return sum(1 for _ in self.of(app_key))

    def tell(self, app_key: bytes, event: dict[str, Any]) -> None:
        """Sends an event to every running instance of the app."""
        for instance in self.of(app_key):
            instance.tell(event)

    # -- connections

    def _spawn(self, work: Any) -> None:
        self._tasks.add(task := asyncio.get_running_loop().create_task(work))
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as e:
                log.warning("the apps' socket: %s", e)  # out of descriptors, say: others will end
                await asyncio.sleep(0.1)
                continue
            if self._greeting >= MAX_GREETING:
                connection.close()
                continue
            self._spawn(self._serve(Wire(connection)))

    async def _serve(self, wire: Wire) -> None:
        try:
            token = await self._greet(wire)
            if (start := self._redeem(token)) is not None and len(self.open) < MAX_CHANNELS:
                await self._serve_app(Instance(start, wire), attendant_token(token))
            elif (instance := self._attendable.pop(token, None)) is not None:
                await self._serve_attendant(instance, wire)
        except* PearrtError as e:
            log.warning("channel closed: %s", e.exceptions[0])
        except* OSError:
            pass
        finally:
            wire.close()

    async def _greet(self, wire: Wire) -> bytes:
        self._greeting += 1
        try:
            async with asyncio.timeout(TOKEN_TIMEOUT_S):
                return await wire.read_exactly(TOKEN_BYTES)
        finally:
            self._greeting -= 1

    def _redeem(self, token: bytes) -> Start | None:
        start, expiry = self._tokens.pop(token, (None, 0.0))
        return start if expiry >= time.monotonic() else None

    async def _serve_app(self, instance: Instance, other_half: bytes) -> None:
        self.open.add(instance)
        self._attendable[other_half] = instance
        self.changed()
        try:
            await instance.wire.write(b"\x01")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(instance.wire.run())
                calls = asyncio.Semaphore(MAX_OPEN_CALLS)
                while True:
                    message = await instance.wire.read_frame()
                    await calls.acquire()
                    tasks.create_task(self._call(instance, message)).add_done_callback(
                        lambda _: calls.release()
                    )
        finally:
            self.open.discard(instance)
            self._attendable.pop(other_half, None)
            self.ended(instance)
            self.changed()

    async def _call(self, instance: Instance, message: dict[str, Any]) -> None:
        method, number, passed = message.pop("method", None), message.pop("id", None), None
        number = number if _is_id(number) else None
        try:
            if not isinstance(method, str):
                raise UserError("A call names its method.")
            result, passed = await self.answer(instance, method, message)
            answer = {"result": result}
        except PearrtError as e:
            answer = as_error(e)
        except Exception:
            log.exception("our own bug in a call of an app")
            answer = as_error(PearrtError("The daemon has a bug; its log has the traceback."))
        await _fitting(instance.wire, {"id": number, **answer}, passed)

    async def _serve_attendant(self, instance: Instance, wire: Wire) -> None:
        attendant = Attendant(wire)
        instance.attendant = attendant
        try:
            await wire.write(b"\x01")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(wire.run())
                while True:
                    attendant.answered(await wire.read_frame())
        finally:
            instance.attendant = None
            attendant.gone()


def _is_id(number: object) -> bool:
    if isinstance(number, str):
        return len(number) <= MAX_ID_CHARACTERS
    return isinstance(number, int) and not isinstance(number, bool) and abs(number) < MAX_ID


async def _fitting(wire: Wire, message: dict[str, Any], passed: socket.socket | None) -> None:
    try:
        await wire.answer(message, passed)
    except ValueError as e:  # longer than a frame
        error = LimitExceeded(f"The answer does not fit into a frame: {e}")
        await wire.answer({"id": message["id"], **as_error(error)})
