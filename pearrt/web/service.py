"""The page of one running app: a small HTTP server on this machine's loopback, in a thread of its own.

    GET  /.pearrt/enter/<token>   once: the session's cookie, then /
    GET  /.pearrt/bridge.js       the page's way to the two below
    POST /.pearrt/call            {method, params} to the daemon, on the app's channel
    POST /.pearrt/ask             {method, params} to the app's backend
    GET  /.pearrt/events          server-sent events of both
    GET  anything else            a signed file, or whatever the app itself answers

It listens on 127.0.0.1 and, where there is one, on ::1 with the same port, since a browser may try either for
a name below `localhost` and another user must not be the one who answers. `visitor.py` and `origin.py` judge
every request before its path is looked at; who is refused learns nothing. It ends with the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable

from aiohttp import web

from pearrt.errors import SandboxError
from pearrt.threads import start_without_signals
from pearrt.web import visitor
from pearrt.web.bridge import Bridge
from pearrt.web.forward import Forward
from pearrt.web.handler import Handler, Page
from pearrt.web.origin import NAME_BYTES, SECRET_BYTES, Door, Origin, spelled

__all__ = ["Page", "PageServer"]

log = logging.getLogger(__name__)

START_TIMEOUT_S = 10.0
KEEPALIVE_S = 15.0
SHUTDOWN_S = 0.25
MAX_CONNECTIONS = 128
MAX_LINE_BYTES = 8190
PORT_ATTEMPTS = 8


class PageServer:
    """A context manager; `url` is the address to open, good for one browser, once."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._listeners = _listen()
        self.origin = Origin(spelled(secrets.token_bytes(NAME_BYTES)), self._listeners[0].getsockname()[1])
        self.door = Door(
            secrets.token_bytes(SECRET_BYTES), secrets.token_bytes(SECRET_BYTES), time.monotonic()
        )
        self._ready: threading.Event = threading.Event()
        self._failure: BaseException | None = None

    @property
    def url(self) -> str:
        return f"{self.origin}{self.door.path}"

    def __enter__(self) -> PageServer:
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)
        start_without_signals(self._thread)
        if not self._ready.wait(START_TIMEOUT_S) or self._failure is not None:
            raise SandboxError("The app's page could not be served.") from self._failure
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):  # ended already
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(START_TIMEOUT_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as e:
            self._failure = e
            log.exception("the page's server failed")
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with contextlib.AsyncExitStack() as parts:
            handler = Handler(
                self.page, self.origin, self.door, await self._bridges(parts), await self._forward(parts)
            )
            server = web.Server(
                handler.handle,
                access_log=None,
                keepalive_timeout=KEEPALIVE_S,
                max_line_size=MAX_LINE_BYTES,
                max_field_size=MAX_LINE_BYTES,
                lingering_time=0,
            )
            parts.push_async_callback(server.shutdown, SHUTDOWN_S)
            for listener in self._listeners:
                listening = await self._loop.create_server(_limited(server), sock=listener)
                parts.callback(listening.close)
            self._ready.set()
            await self._end.wait()
            handler.ending.set()

    async def _bridges(self, parts: contextlib.AsyncExitStack) -> dict[str, Bridge]:
        ends = {"runtime": self.page.channel, "backend": self.page.backend}
        given = {name: Bridge(end, name) for name, end in ends.items() if end is not None}
        for bridge in given.values():
            await parts.enter_async_context(bridge)
        return given

    async def _forward(self, parts: contextlib.AsyncExitStack) -> Forward | None:
        if self.page.forward is None:
            return None
        return await parts.enter_async_context(Forward(str(self.page.forward), str(self.origin)))


def _limited(server: web.Server) -> Callable[[], asyncio.Protocol]:
    """Connections over the bound are closed at once, and another user's, who must not take up all of them."""
    return lambda: _Entrance(server)


class _Entrance(asyncio.Protocol):
    """What a connection speaks to until it is let in."""

    def __init__(self, server: web.Server) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        ends = [transport.get_extra_info(name) for name in ("peername", "sockname")]
        full = len(self._server.connections) >= MAX_CONNECTIONS
        if full or not all(ends) or not visitor.is_ours(ends[0][:2], ends[1][:2]):
            transport.close()
            return
        handler = self._server()
        assert isinstance(transport, asyncio.Transport)
        transport.set_protocol(handler)
        handler.connection_made(transport)


def _listen() -> list[socket.socket]:
    """One port of both loopback addresses, or of 127.0.0.1 alone where there is no ::1."""
    for _ in range(PORT_ATTEMPTS):
        four = socket.create_server(("127.0.0.1", 0))
        if not socket.has_ipv6:
            return [four]
        try:
            return [four, socket.create_server(("::1", four.getsockname()[1]), family=socket.AF_INET6)]
        except OSError as e:
            import errno

            if e.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                return [four]
            four.close()
    raise SandboxError("No free port was found for the app's page.")
