"""The apps' way to the daemon: one stream per running app, whose identity is fixed when it is opened.

`pearrt run` gets a one-time token for an app, connects, presents it and hands the connection on to the
sandbox. What arrives on it afterwards is that app's, whatever it claims. While the connection lives, the app
counts as running.

Frames, both ways: u32 big-endian length, then that many bytes of JSON, at most 64 KiB. The app sends
`{"id": n, "method": name, …}` and gets `{"id": n, "result": …}` or `{"id": n, "error": {…}}`; the daemon
sends `{"event": name, …}` unasked: `update-ready` with a version when the next start will run a newer
release.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pearrt.errors import PearrtError, ProtocolViolation, UserError

log = logging.getLogger(__name__)

TOKEN_BYTES = 32
TOKEN_TTL_S = 600.0  # how long the person may ponder the question before the app starts
MAX_TOKENS = 1024
MAX_FRAME_BYTES = 64 * 1024
MAX_CHANNELS = 256


class Channels:
    """All open channels of a daemon. `about(app_key)` answers an app's question who it is."""

    def __init__(
        self, socket: Path, *, about: Callable[[bytes], dict[str, Any]], changed: Callable[[], None]
    ) -> None:
        self.socket = socket
        self.about = about
        self.changed = changed
        self.tokens: dict[bytes, tuple[bytes, float]] = {}
        self.open: dict[asyncio.StreamWriter, bytes] = {}

    def issue(self, app_key: bytes) -> bytes:
        """A token that opens one channel of this app, once."""
        now = time.monotonic()
        for token in [token for token, (_, expiry) in self.tokens.items() if expiry < now]:
            del self.tokens[token]
        while len(self.tokens) >= MAX_TOKENS:
            del self.tokens[next(iter(self.tokens))]
        token = secrets.token_bytes(TOKEN_BYTES)
        self.tokens[token] = (app_key, now + TOKEN_TTL_S)
        return token

    def running(self, app_key: bytes) -> int:
        """How many instances of the app run now."""
        return sum(key == app_key for key in self.open.values())

    def tell(self, app_key: bytes, event: dict[str, Any]) -> None:
        """Sends an event to every running instance of the app."""
        for writer, key in self.open.items():
            if key == app_key:
                _write(writer, event)

    async def serve(self) -> asyncio.Server:
        """Listens; the caller closes the server and then `close`s what is open."""
        with contextlib.suppress(FileNotFoundError):
            self.socket.unlink()
        server = await asyncio.start_unix_server(self._accept, str(self.socket))
        self.socket.chmod(0o600)
        return server

    def close(self) -> None:
        for writer in list(self.open):
            writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            app_key = await self._authenticate(reader)
            if app_key is None or len(self.open) >= MAX_CHANNELS:
                return
            writer.write(b"\x01")
            self.open[writer] = app_key
            self.changed()
            await self._converse(app_key, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            pass
        except PearrtError as e:
            log.warning("channel closed: %s", e)
        finally:
            self.open.pop(writer, None)
            self.changed()
            writer.close()

    async def _authenticate(self, reader: asyncio.StreamReader) -> bytes | None:
        async with asyncio.timeout(10):
            token = await reader.readexactly(TOKEN_BYTES)
        app_key, expiry = self.tokens.pop(token, (None, 0.0))
        return app_key if expiry >= time.monotonic() else None

    async def _converse(
        self, app_key: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            call = _parse(await _read_frame(reader))
            try:
                answer: dict[str, Any] = {"result": self._answer(app_key, call)}
            except PearrtError as e:
                answer = {"error": e.as_dict()}
            _write(writer, {"id": call.get("id"), **answer})
            await writer.drain()

    def _answer(self, app_key: bytes, call: dict[str, Any]) -> Any:
        if call.get("method") == "app.info":
            return self.about(app_key)
        raise UserError(f"There is no method {str(call.get('method'))[:40]!r}.")


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    length = int.from_bytes(await reader.readexactly(4))
    if length > MAX_FRAME_BYTES:
        raise ProtocolViolation(
            f"An app sent a frame of {length} bytes; at most {MAX_FRAME_BYTES} are allowed."
        )
    return await reader.readexactly(length)


def _parse(frame: bytes) -> dict[str, Any]:
    try:
        call = json.loads(frame)
    except (ValueError, RecursionError) as e:
        raise ProtocolViolation(f"An app sent a frame that is no JSON: {e}.") from e
    if not isinstance(call, dict):
        raise ProtocolViolation("An app sent a frame that is no JSON object.")
    return call


def _write(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode()
    writer.write(len(data).to_bytes(4) + data)
