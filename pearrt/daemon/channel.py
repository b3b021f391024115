"""The apps' way to the daemon: one stream per running app, whose identity is fixed when it is opened.

`pearrt run` gets a one-time token for one start of an app, connects, presents it and hands the connection on
to the sandbox. What arrives on it afterwards is that app's, whatever it claims. While the connection lives,
the app counts as running. With the token's other half (`attendant_token`) `pearrt run` opens a second
connection, on which the daemon asks it for what needs the person: see `attendant.py` of the app room.

Frames, both ways: u32 big-endian length, then that many bytes of JSON, at most 64 KiB (`sdk/frames.py`). The
app sends `{"id": n, "method": name, …}` and gets `{"id": n, "result": …}` or `{"id": n, "error": {code,
message, hint}}`, in any order; the daemon sends `{"event": name, …}` unasked: `update-ready` {version, notes,
security, widens}, `permission-revoked` {permission}, `revoked` {version, action, reason}, `p2p.peer` {circle,
peer, here}, `p2p.message` {circle, peer, data}. Methods and who may call them: `app_calls.py`.

For whoever bridges a channel (a browser page has no socket): `Channels(socket, answer=…, changed=…)`,
`issue(start)`, and the protocol above; an answer with `"socket": true` or `"file": true` brings a descriptor
along and cannot be bridged.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from pearrt.app.start import Start
from pearrt.daemon import endpoint
from pearrt.daemon.attendant_token import attendant_token
from pearrt.daemon.instance import Attendant, Instance, as_error
from pearrt.daemon.passing import items_of, start_fields, start_from
from pearrt.daemon.reception import admitted
from pearrt.daemon.wire import Passable, Wire
from pearrt.errors import LimitExceeded, PearrtError, PeerTimeout, UserError
from pearrt.runtime.handover import Item, of_kind

log = logging.getLogger(__name__)

TOKEN_BYTES = 32
TOKEN_TTL_S = 600.0  # how long the person may ponder the question before the app starts
TOKEN_TIMEOUT_S = 10.0
MAX_TOKENS = 1024
MAX_CHANNELS = 256
MAX_GREETING = 64  # connections that have not shown a token yet
SETTLE_S = 2.0  # how long a hand-over waits for calls that are being answered
SETTLE_POLL_S = 0.01
MAX_OPEN_CALLS = 16  # of one app, answered at the same time
MAX_ID_CHARACTERS = 64
MAX_ID = 1 << 53

Answered = tuple[Any, Passable | None]
Answer = Callable[[Instance, str, dict[str, Any]], Awaitable[Answered]]


class Observer(Protocol):
    """Who hears of an instance's life: `daemon/live.py`."""

    def opened(self, instance: Instance) -> None: ...
    def attended(self, instance: Instance) -> None: ...
    def ended(self, instance: Instance) -> None: ...


class Channels:
    """All open channels of a daemon; an async context manager that listens while it is open.

    `answer(instance, method, fields)` gives the result of an app's call and, where there is one, a socket or
    file to pass along; it raises PearrtError. `changed()` hears of every start and end, `observer` of whose.
    """

    def __init__(
        self,
        path: Path,
        *,
        answer: Answer,
        changed: Callable[[], None],
        observer: Observer | None = None,
        inherited: Sequence[Item] = (),
    ) -> None:
        self.socket = path
        self.answer = answer
        self.changed = changed
        self.observer = observer
        self.open: set[Instance] = set()
        self._tokens: dict[bytes, tuple[Start, float]] = {}
        self._attendable: dict[bytes, Instance] = {}
        self._greeting = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._inherited = inherited
        self._passed_on = False

    async def __aenter__(self) -> Channels:
        passed = next(of_kind(self._inherited, "apps"), None)
        self._listener, self._secret = (
            (passed.socket(), b"") if passed is not None else endpoint.listen(self.socket)
        )
        self._listener.setblocking(False)
        self._listener.listen(64)
        self._adopt()
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

    # -- from one daemon process to the next

    async def pass_on(self) -> list[Item]:
        """Stops listening and answering, and gives what another process goes on with.

        Calls that are answered soon are waited for; the others are answered that they are to be made again.
        An app that leaves its answers unread loses its channel.
        """
        await self._settle()
        for instance in self.open:
            self._interrupt(instance)
        await self._settle()
        return self._detach()

    async def _settle(self) -> None:
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            if not self._greeting and all(_settled(instance) for instance in self.open):
                return
            await asyncio.sleep(SETTLE_POLL_S)

    def _interrupt(self, instance: Instance) -> None:
        for call, number in list(instance.calls.items()):
            call.cancel()
            error = PeerTimeout("The daemon is being updated.", hint="Make the call again.")
            instance.wire.post({"id": number, **as_error(error)})

    def _detach(self) -> list[Item]:
        """Without a pause, so that nothing is read or sent in between."""
        self._passed_on = True
        now = time.monotonic()
        items = [Item("apps", {}, os.dup(self._listener.fileno()))]
        for token, (start, expiry) in self._tokens.items():
            facts = {"token": token.hex(), "ttl_s": expiry - now, "start": start_fields(start)}
            items.append(Item("token", facts))
        halves = {id(instance): half for half, instance in self._attendable.items()}
        for number, instance in enumerate(self.open):
            if instance.wire.flushed:
                items += items_of(number, instance, halves.get(id(instance)))
        for task in list(self._tasks):
            task.cancel()
        return items

    def _adopt(self) -> None:
        """Goes on with the apps of another process."""
        now = time.monotonic()
        for item in of_kind(self._inherited, "token"):
            start = start_from(item.fields["start"])
            self._tokens[bytes.fromhex(item.fields["token"])] = (start, now + float(item.fields["ttl_s"]))
        instances: dict[int, Instance] = {}
        for item in of_kind(self._inherited, "channel"):
            wire = Wire(item.socket(), bytes.fromhex(item.fields["held"]))
            instance = Instance(start_from(item.fields["start"]), wire)
            instance.restarting = bool(item.fields["restarting"])
            instance.circles = set(item.fields.get("circles", ()))
            instances[item.fields["channel"]] = instance
            half = bytes.fromhex(item.fields["half"])
            self._spawn(self._closing(wire, self._serve_app(instance, half, greet=False)))
        for item in of_kind(self._inherited, "attendant"):
            wire = Wire(item.socket(), bytes.fromhex(item.fields["held"]))
            attendant = Attendant(wire, int(item.fields["next_id"]))
            of = instances[item.fields["channel"]]
            self._spawn(self._closing(wire, self._serve_attendant(of, attendant, greet=False)))

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
                await asyncio.sleep(0)  # a crowd at the door keeps nobody inside waiting
                continue
            self._greeting += 1
            wire = Wire(connection)
            self._spawn(self._closing(wire, self._serve(wire)))

    async def _serve(self, wire: Wire) -> None:
        token = await self._greet(wire)
        if (start := self._redeem(token)) is not None and len(self.open) < MAX_CHANNELS:
            await self._serve_app(Instance(start, wire), attendant_token(token))
        elif (instance := self._attendable.pop(token, None)) is not None:
            await self._serve_attendant(instance, Attendant(wire))

    async def _closing(self, wire: Wire, work: Coroutine[Any, Any, None]) -> None:
        """Does the work of one connection, and closes that however it ends."""
        try:
            await work
        except* PearrtError as e:
            log.warning("channel closed: %s", e.exceptions[0])
        except* OSError:
            pass
        finally:
            wire.close()

    async def _greet(self, wire: Wire) -> bytes:
        try:
            if self._secret and not await admitted(wire, self._secret):
                raise ConnectionRefusedError("it does not know the secret")
            async with asyncio.timeout(TOKEN_TIMEOUT_S):
                return await wire.read_exactly(TOKEN_BYTES)
        finally:
            self._greeting -= 1

    def _redeem(self, token: bytes) -> Start | None:
        start, expiry = self._tokens.pop(token, (None, 0.0))
        return start if expiry >= time.monotonic() else None

    async def _serve_app(self, instance: Instance, other_half: bytes, *, greet: bool = True) -> None:
        self.open.add(instance)
        if other_half:
            self._attendable[other_half] = instance
        self.changed()
        try:
            if self.observer is not None:
                self.observer.opened(instance)
            if greet:
                await instance.wire.write(b"\x01")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(instance.wire.run())
                calls = asyncio.Semaphore(MAX_OPEN_CALLS)
                while True:
                    message = await instance.wire.read_frame()
                    await calls.acquire()
                    number = message.pop("id", None)
                    call = tasks.create_task(self._call(instance, number, message))
                    instance.calls[call] = number if _is_id(number) else None
                    call.add_done_callback(instance.calls.pop)
                    call.add_done_callback(lambda _: calls.release())
        finally:
            self.open.discard(instance)
            self._attendable.pop(other_half, None)
            if self.observer is not None and not self._passed_on:
                self.observer.ended(instance)  # else its connections through the proxy last a while longer
            self.changed()

    async def _call(self, instance: Instance, number: object, message: dict[str, Any]) -> None:
        method, passed = message.pop("method", None), None
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

    async def _serve_attendant(self, instance: Instance, attendant: Attendant, *, greet: bool = True) -> None:
        wire = attendant.wire
        wire.taking = True
        instance.attendant = attendant
        try:
            if self.observer is not None:
                self.observer.attended(instance)
            if greet:
                await wire.write(b"\x01")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(wire.run())
                while True:
                    attendant.answered(await wire.read_frame(), wire.take_files())
        finally:
            instance.attendant = None
            attendant.gone()


def _settled(instance: Instance) -> bool:
    """Whether nothing is under way to the app or its attendant."""
    attended = instance.attendant is None or instance.attendant.wire.flushed
    return not instance.calls and instance.wire.flushed and attended


def _is_id(number: object) -> bool:
    if isinstance(number, str):
        return len(number) <= MAX_ID_CHARACTERS
    return isinstance(number, int) and not isinstance(number, bool) and abs(number) < MAX_ID


async def _fitting(wire: Wire, message: dict[str, Any], passed: Passable | None) -> None:
    try:
        await wire.answer(message, passed)
    except ValueError as e:  # longer than a frame
        error = LimitExceeded(f"The answer does not fit into a frame: {e}")
        await wire.answer({"id": message["id"], **as_error(error)})
