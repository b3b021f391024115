"""The same calls for asyncio, under the same names. A call waits without blocking the loop, and ends with its
task: `asyncio.timeout` is the way to give up waiting. What a call gives and raises is said where its twin is.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, BinaryIO

from pearrt.sdk import app as _app
from pearrt.sdk import args as _args
from pearrt.sdk import files as _files
from pearrt.sdk import log as _log
from pearrt.sdk import p2p as _p2p
from pearrt.sdk import page as _page
from pearrt.sdk import shelf as _shelf
from pearrt.sdk import storage as _storage
from pearrt.sdk.channel import Reply, channel
from pearrt.sdk.errors import Error, NotConnected
from pearrt.sdk.updates import READY, Status, Update

MAX_UNREAD_EVENTS = 256


async def _call(method: str, **fields: Any) -> Reply:
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Reply] = loop.create_future()

    def settle(reply: Reply) -> None:
        if answered.done():
            reply.drop()
        else:
            answered.set_result(reply)

    def done(reply: Reply) -> None:
        try:
            loop.call_soon_threadsafe(settle, reply)
        except RuntimeError:  # the loop has ended
            reply.drop()

    number = channel().post(method, done, **fields)
    try:
        reply = await answered
    finally:
        channel().forget(number)
    reply.result()
    return reply


async def _each(method: str, calls: Iterable[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    """The results of calls in their order, some of them under way at once."""
    todo = iter(calls)
    while some := list(islice(todo, _shelf.AT_ONCE)):
        replies = await asyncio.gather(*(_call(method, **fields) for fields in some), return_exceptions=True)
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
            yield reply.result()


class app:  # noqa: N801 - a namespace, as the module of this name is
    @staticmethod
    async def info() -> _app.Info:
        return _app.Info.read((await _call("app.info", **_app.FIELDS)).result())

    @staticmethod
    async def events() -> AsyncIterator[dict[str, Any]]:
        with _told() as told:
            while (event := await told.get())["event"] != "ended":
                yield event
        raise NotConnected("The daemon has gone.", code="unreachable")


@contextlib.contextmanager
def _told() -> Iterator[asyncio.Queue[dict[str, Any]]]:
    """While it is entered, the queue gets what the daemon tells; what nobody takes pushes out the oldest."""
    loop, told = asyncio.get_running_loop(), asyncio.Queue[dict[str, Any]](MAX_UNREAD_EVENTS)

    def put(event: dict[str, Any]) -> None:
        if told.full():
            told.get_nowait()
        told.put_nowait(event)

    def listener(event: dict[str, Any]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(put, event)

    channel().listen(listener)
    try:
        yield told
    finally:
        channel().unlisten(listener)


class args:  # noqa: N801
    """Needs no waiting: `sdk.args` itself."""

    argv = staticmethod(_args.argv)
    path = staticmethod(_args.path)
    fragment = staticmethod(_args.fragment)


class storage:  # noqa: N801
    path = staticmethod(_storage.path)

    @staticmethod
    async def usage() -> _storage.Usage:
        return _storage.Usage.read((await _call("storage.info")).result())

    @staticmethod
    async def quota() -> int:
        return (await storage.usage()).quota_bytes

    @staticmethod
    async def used() -> int:
        return (await storage.usage()).used_bytes


class log:  # noqa: N801
    @staticmethod
    async def write(level: str, text: str) -> None:
        await _call("log.write", level=level, text=text[: _log.MAX_CHARACTERS])

    @staticmethod
    async def debug(text: str) -> None:
        await log.write("debug", text)

    @staticmethod
    async def info(text: str) -> None:
        await log.write("info", text)

    @staticmethod
    async def warning(text: str) -> None:
        await log.write("warning", text)

    @staticmethod
    async def error(text: str) -> None:
        await log.write("error", text)


class net:  # noqa: N801
    @staticmethod
    async def connect(host: str, port: int) -> socket.socket:
        """A connected socket, not blocking: for `asyncio.open_connection(sock=…)`."""
        connection = (await _call("net.open", host=host, port=port)).socket()
        connection.setblocking(False)
        return connection


class p2p:  # noqa: N801
    class Circle:
        """As `sdk.p2p.Circle`, an async context manager and an async iterator of what is heard."""

        def __init__(self, name: str) -> None:
            self.name = name
            self._present = _p2p.Present(name)
            self._loop = asyncio.get_running_loop()
            self._heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MAX_UNREAD_EVENTS)

        async def join(self) -> None:
            channel().listen(self._listen)
            try:
                await _call("p2p.join", circle=self.name)
            except BaseException:
                channel().unlisten(self._listen)
                raise

        def _listen(self, event: dict[str, Any]) -> None:
            if self._present.concerns(event) and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._put, event)

        def _put(self, event: dict[str, Any]) -> None:
            if self._heard.full():
                self._heard.get_nowait()
            self._heard.put_nowait(event)

        async def send(self, data: bytes, peer: str = "") -> int:
            return _p2p.sent((await _call("p2p.send", **_p2p.message(self.name, data, peer))).result())

        async def peers(self) -> tuple[str, ...]:
            return tuple((await _call("p2p.peers", circle=self.name)).result()["peers"])

        async def receive(self) -> _p2p.Message | _p2p.Presence:
            """Waits for the next. Raises NotConnected when the daemon has gone, Denied when the permission
            was revoked."""
            return _p2p.heard(await self._heard.get())

        async def leave(self) -> None:
            channel().unlisten(self._listen)
            await _call("p2p.leave", circle=self.name)

        async def __aenter__(self) -> p2p.Circle:
            return self

        async def __aexit__(self, *_: object) -> None:
            with contextlib.suppress(Error):
                await self.leave()

        def __aiter__(self) -> p2p.Circle:
            return self

        async def __anext__(self) -> _p2p.Message | _p2p.Presence:
            return await self.receive()

    @staticmethod
    async def join(name: str) -> p2p.Circle:
        circle = p2p.Circle(name)
        await circle.join()
        return circle


class shelf:  # noqa: N801
    @staticmethod
    async def put(data: bytes) -> str:
        names: list[str] = []
        try:
            async for _ in _each("shelf.put", ({"data": field} for field in _shelf.blocks(data, names))):
                pass
        except BaseException:
            with contextlib.suppress(Error):
                await shelf._drop(names)
            raise
        return names[-1]

    @staticmethod
    async def get(name: str, *, timeout_s: float = 60.0, keep: bool = False) -> bytes:
        fields = _shelf.wanted(timeout_s, keep=keep)
        parts = _shelf.opened((await _call("shelf.get", block=name, **fields)).result())
        if isinstance(parts, bytes):
            return parts
        calls = ({"block": each, **fields} for each in parts)
        return b"".join([_shelf.part(result) async for result in _each("shelf.get", calls)])

    @staticmethod
    async def drop(name: str) -> bool:
        await shelf._drop(await shelf._parts(name))
        return bool((await _call("shelf.drop", block=name)).result()["dropped"])

    @staticmethod
    async def keep_only(names: Iterable[str]) -> int:
        kept = {each for name in names for each in (name, *await shelf._parts(name))}
        dropped, after = 0, ""
        while found := (await _call("shelf.list", after=after)).result()["blocks"]:
            lost, after = [name for name in found if name not in kept], found[-1]
            await shelf._drop(lost)
            dropped += len(lost)
        return dropped

    @staticmethod
    async def usage() -> _shelf.Usage:
        return _shelf.Usage.read((await _call("shelf.usage")).result())

    @staticmethod
    async def _parts(name: str) -> list[str]:
        try:
            first = await _call("shelf.get", block=name, **_shelf.wanted(0, keep=False))
        except Error as e:
            if e.code != "peer-timeout":
                raise
            return []
        parts = _shelf.opened(first.result())
        return [] if isinstance(parts, bytes) else parts

    @staticmethod
    async def _drop(names: Iterable[str]) -> None:
        async for _ in _each("shelf.drop", ({"block": name} for name in names)):
            pass


class page:  # noqa: N801
    tell = staticmethod(_page.tell)

    @staticmethod
    async def serve(methods: _page.Methods) -> None:
        """As `sdk.page.serve`, with functions or coroutine functions; calls are answered side by side."""
        loop, calls = asyncio.get_running_loop(), asyncio.Queue[_page.Call | None]()
        connected = _page.connected()

        def read() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                for call in connected.calls():
                    loop.call_soon_threadsafe(calls.put_nowait, call)
                loop.call_soon_threadsafe(calls.put_nowait, None)

        async def answer(call: _page.Call) -> None:
            try:
                result = _page.bound(methods, call)()
                result = await result if inspect.isawaitable(result) else result
            except Exception as e:
                connected.answer(call, partial(_raise, e))
            else:
                connected.answer(call, lambda: result)

        threading.Thread(target=read, name="pearrt-page", daemon=True).start()
        async with asyncio.TaskGroup() as tasks:
            while (call := await calls.get()) is not None:
                tasks.create_task(answer(call))


def _raise(error: Exception) -> None:
    raise error


class files:  # noqa: N801
    @staticmethod
    async def open(purpose: str, mode: str = _files.READ, *, name: str = "") -> BinaryIO:
        """An ordinary file, whose reads and writes block: those of a disk."""
        return _files.taken(await _call("files.open", purpose=purpose, mode=mode, name=name))


class clipboard:  # noqa: N801
    @staticmethod
    async def write(text: str) -> None:
        await _call("clipboard.write", text=text)

    @staticmethod
    async def read() -> str:
        return str((await _call("clipboard.read")).result()["text"])


class updates:  # noqa: N801
    @staticmethod
    async def status() -> Status:
        return Status.read((await _call("updates.status")).result())

    @staticmethod
    async def apply() -> Status:
        return Status.read((await _call("updates.apply")).result())

    @staticmethod
    async def restart() -> None:
        await _call("updates.restart")

    @staticmethod
    async def wait() -> Update:
        """The version that is ready already, or the next that becomes so."""
        async for update in updates.ready():
            return update
        raise NotConnected("The daemon has gone.", code="unreachable")

    @staticmethod
    async def ready() -> AsyncIterator[Update]:
        """The version that is ready already, if any, then each that becomes so. Raises NotConnected when the
        daemon has gone."""
        with _told() as events:
            told = (await updates.status()).ready
            if told is not None:
                yield told
            while (event := await events.get())["event"] != "ended":
                if event["event"] == READY and (update := Update.read(event)) != told:
                    told = update
                    yield update
        raise NotConnected("The daemon has gone.", code="unreachable")


async def open_url(url: str) -> None:
    await _call("open_url", url=url)


async def notify(title: str, body: str = "") -> None:
    await _call("notify", title=title, body=body)
