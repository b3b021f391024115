"""What a page's server answers: one answer per request, refusals that all read the same. A shell of the web
room.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakSet

from aiohttp import web

from pearrt.errors import Corrupt, PearrtError, UserError
from pearrt.sdk.frames import MAX_FRAME_BYTES
from pearrt.web import content, policy, visitor
from pearrt.web.bridge import MAX_LISTENERS, MAX_WAITING_EVENTS, Bridge, Event
from pearrt.web.forward import METHODS, Forward
from pearrt.web.origin import ENTER, Door, Origin
from pearrt.web.site import Site

EVENT_PING_S = 15.0
_BRIDGE = (Path(__file__).parent / "bridge.js").read_bytes()


@dataclass(frozen=True, slots=True)
class Page:
    """What there is to show: signed files below `folder`, or an app that answers on `forward` itself.
    `channel` and `backend` are connected sockets, taken over.
    """

    site: Site | None = None
    folder: Path | None = None
    forward: Path | None = None
    channel: socket.socket | None = None
    backend: socket.socket | None = None


class Handler:
    """Answers for one page. `ending` ends its event streams."""

    def __init__(
        self, page: Page, origin: Origin, door: Door, bridges: dict[str, Bridge], forward: Forward | None
    ) -> None:
        self.page, self.origin, self.door = page, origin, door
        self.bridges = bridges
        self.forward = forward
        self.ending = asyncio.Event()
        self.streams = 0
        self.known: WeakSet[asyncio.BaseTransport] = WeakSet()
        self.csp = policy.SERVED if forward else policy.STRICT

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request; never raises but for our own bugs."""
        headers = list(request.headers.items())
        if not self._is_ours(request) or not self.origin.admits(request.method, headers):
            return self._refuse()
        path = request.raw_path.partition("?")[0]
        if path.startswith(ENTER) and request.method == "GET":
            return self._enter(path)
        if not self.door.knows(headers):
            return self._refuse()
        if path.startswith("/.pearrt/"):
            return await self._own(path, request)
        if self.forward is not None:
            return await self._pass_on(request, self.forward)
        if request.method not in ("GET", "HEAD"):
            return self._refuse(405)
        return await self._file(path, request)

    def _is_ours(self, request: web.BaseRequest) -> bool:
        """Whether this user's process asks; looked up once per connection."""
        transport = request.transport
        if transport is None or transport in self.known:
            return transport is not None
        ends = [transport.get_extra_info(name) for name in ("peername", "sockname")]
        if not all(ends) or not visitor.is_ours(ends[0][:2], ends[1][:2]):
            return False
        self.known.add(transport)
        return True

    def _enter(self, path: str) -> web.StreamResponse:
        if not self.door.open(path, time.monotonic()):
            return self._refuse()
        extra = {"Set-Cookie": self.door.cookie, "Location": "/", "Cache-Control": "no-store"}
        return web.Response(status=303, headers=policy.headers(self.csp) | extra)

    async def _own(self, path: str, request: web.BaseRequest) -> web.StreamResponse:
        match path, request.method:
            case "/.pearrt/bridge.js", "GET" | "HEAD":
                return self._respond(_BRIDGE, "text/javascript; charset=utf-8")
            case "/.pearrt/call", "POST":
                return await self._call("runtime", request)
            case "/.pearrt/ask", "POST":
                return await self._call("backend", request)
            case "/.pearrt/events", "GET":
                return await self._events(request)
        return self._refuse(404)

    async def _call(self, name: str, request: web.BaseRequest) -> web.StreamResponse:
        try:
            if name not in self.bridges:
                raise UserError(f"This app has no {name}.")
            call = await _read_call(request)
            answer = await self.bridges[name].call(call.get("method"), call.get("params", {}))
        except PearrtError as e:
            answer = {"error": e.as_dict()}
        return self._respond(json.dumps(answer).encode(), "application/json")

    async def _events(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.streams >= MAX_LISTENERS:
            return self._refuse(503)
        self.streams += 1
        response = web.StreamResponse(headers=policy.headers(self.csp) | {"Cache-Control": "no-store"})
        response.content_type = "text/event-stream"
        queue: asyncio.Queue[Event] = asyncio.Queue(MAX_WAITING_EVENTS)
        try:
            with contextlib.ExitStack() as heard:
                for bridge in self.bridges.values():
                    heard.enter_context(bridge.heard_by(queue))
                await response.prepare(request)
                async for line in self._lines(queue):
                    await response.write(line)
        except ConnectionError:
            pass
        finally:
            self.streams -= 1
        return response

    async def _lines(self, queue: asyncio.Queue[Event]) -> AsyncIterator[bytes]:
        yield b": open\n\n"
        ending = asyncio.create_task(self.ending.wait())
        try:
            while not self.ending.is_set():
                news = asyncio.create_task(queue.get())
                done, _ = await asyncio.wait(
                    {news, ending}, timeout=EVENT_PING_S, return_when=asyncio.FIRST_COMPLETED
                )
                if news in done:
                    yield b"data: " + json.dumps(news.result()).encode() + b"\n\n"
                else:
                    news.cancel()
                    yield b": still here\n\n"
        finally:
            ending.cancel()

    async def _pass_on(self, request: web.BaseRequest, forward: Forward) -> web.StreamResponse:
        if request.method not in METHODS or "upgrade" in request.headers:
            return self._refuse(405)
        answer = await forward.answer(request, policy.headers(self.csp))
        return answer if answer is not None else self._refuse(502, b"The app does not answer.\n")

    async def _file(self, path: str, request: web.BaseRequest) -> web.StreamResponse:
        file = self.page.site.find(path) if self.page.site else None
        if file is None or self.page.folder is None:
            return self._refuse(404)
        caching = {"ETag": file.tag, "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == file.tag:
            return web.Response(status=304, headers=policy.headers(self.csp) | caching)
        response = web.StreamResponse(headers=policy.headers(self.csp) | caching)
        response.headers["Content-Type"] = file.content_type
        response.content_length = file.size
        parts = content.pieces(self.page.folder, file)
        try:
            first = await asyncio.to_thread(next, parts)
        except Corrupt:
            return self._refuse(500, b"This file is not the one that was signed.\n")
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        try:
            piece: bytes | None = first
            while piece is not None:
                await response.write(piece)
                piece = await asyncio.to_thread(next, parts, None)
            await response.write_eof()
        except (Corrupt, ConnectionError):
            response.force_close()  # too short: the browser sees that it failed
            if request.transport is not None:
                request.transport.abort()
        return response

    def _respond(self, body: bytes, content_type: str) -> web.Response:
        headers = policy.headers(self.csp) | {"Content-Type": content_type, "Cache-Control": "no-store"}
        return web.Response(body=body, headers=headers)

    def _refuse(self, status: int = 403, words: bytes = b"Not for you.\n") -> web.Response:
        response = self._respond(words, "text/plain; charset=utf-8")
        response.set_status(status)
        return response


async def _read_call(request: web.BaseRequest) -> dict[str, object]:
    """The body of a call. Raises UserError. A JSON content type cannot be sent by a form of another page."""
    if request.content_type != "application/json":
        raise UserError("A call is JSON.")
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > MAX_FRAME_BYTES:
            raise UserError(f"A call is at most {MAX_FRAME_BYTES} bytes long.")
    try:
        call = json.loads(body)
    except (ValueError, RecursionError) as e:
        raise UserError("A call is JSON.") from e
    if not isinstance(call, dict) or not call.keys() <= {"method", "params"}:
        raise UserError("A call is an object with method and params.")
    return call
