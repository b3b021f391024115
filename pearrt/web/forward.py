"""Requests passed on to an app that serves its page itself, on the socket it was given. A shell of the web
room.

The app sees plain HTTP/1.1 on its listening socket. What is kept from it: the session's cookie. What is kept
from the browser: a second policy weaker than ours, cookies for other hosts or under the session's name, and a
redirect to anywhere else. Upgrades (WebSocket) are not passed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp import web

from pearrt.web.origin import COOKIE, cookies

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5.0, 300.0
MAX_CONNECTIONS = 32
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# RFC 9110, 7.6.1, and what is ours to say.
_HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_NOT_TO_APP = _HOP_BY_HOP | {"cookie", "forwarded", "x-forwarded-for", "x-forwarded-host", "expect"}
_NOT_TO_BROWSER = _HOP_BY_HOP | {
    "alt-svc", "clear-site-data", "content-length", "link", "nel", "report-to", "reporting-endpoints",
    "service-worker-allowed", "strict-transport-security",
}  # fmt: skip


class Forward:
    """An async context manager; `socket` is the path of the app's listening socket, outside."""

    def __init__(self, socket: str, origin: str) -> None:
        self._socket = socket
        self._origin = origin

    async def __aenter__(self) -> Forward:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(self._socket, limit=MAX_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def answer(self, request: web.BaseRequest, extra: Mapping[str, str]) -> web.StreamResponse | None:
        """The app's answer, sent; None where the app is not there or breaks a rule before it began."""
        try:
            return await self._pass_on(request, extra)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None

    async def _pass_on(self, request: web.BaseRequest, extra: Mapping[str, str]) -> web.StreamResponse | None:
        async with self._session.request(
            request.method,
            f"{self._origin}{request.raw_path}" if request.raw_path.startswith("/") else self._origin,
            headers=_for_app(request),
            data=request.content if request.can_read_body else None,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        ) as given:
            if not self._stays(given.headers.get("Location", "/")):
                return None
            answer = web.StreamResponse(status=given.status, reason=given.reason)
            for name, value in given.headers.items():
                if name.lower() not in _NOT_TO_BROWSER and not _foreign_cookie(name, value):
                    answer.headers.add(name, value)
            for name, value in extra.items():
                if name == "Content-Security-Policy":
                    answer.headers.add(name, value)  # beside the app's own: both hold
                else:
                    answer.headers[name] = value
            if given.content_length is not None:
                answer.content_length = given.content_length
            await answer.prepare(request)
            try:
                async for piece in given.content.iter_any():
                    await answer.write(piece)
                await answer.write_eof()
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                answer.force_close()  # too short: the browser sees that it failed
                if request.transport is not None:
                    request.transport.abort()
            return answer

    def _stays(self, location: str) -> bool:
        if location.startswith(f"{self._origin}/"):
            return True
        scheme, colon, _ = location.partition(":")
        relative = not colon or not scheme.isalnum()
        return relative and not location.replace("\\", "/").lstrip().startswith("//")


def _for_app(request: web.BaseRequest) -> list[tuple[str, Any]]:
    named = {part.strip().lower() for part in request.headers.get("Connection", "").split(",")}
    kept = [(n, v) for n, v in request.headers.items() if n.lower() not in _NOT_TO_APP | named]
    own = "; ".join(f"{n}={v}" for n, v in cookies(request.headers.items()) if n != COOKIE)
    return [*kept, ("Cookie", own)] if own else kept


def _foreign_cookie(name: str, value: str) -> bool:
    if name.lower() != "set-cookie":
        return False
    attributes = [part.strip().lower() for part in value.split(";")[1:]]
    return value.partition("=")[0].strip() == COOKIE or any(part.startswith("domain") for part in attributes)
