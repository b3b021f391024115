"""The daemon's side of a port that stands for a Unix socket (`endpoint.py`): nobody gets further without a
proof."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import socket
from collections.abc import Callable, Coroutine
from types import TracebackType

from pearrt.daemon.endpoint import CALLER, DAEMON, DRAWN_BYTES, PROOF_BYTES, TIMEOUT_S, proof
from pearrt.daemon.wire import Wire

log = logging.getLogger(__name__)

MAX_PROVING = 64  # connections that have not shown their proof yet


async def admitted(wire: Wire, secret: bytes) -> bool:
    """Whether the other end knows the secret; it is shown that this one does. Raises OSError,
    TimeoutError."""
    async with asyncio.timeout(TIMEOUT_S):
        theirs, ours = await wire.read_exactly(DRAWN_BYTES), secrets.token_bytes(DRAWN_BYTES)
        await wire.write(ours + proof(secret, DAEMON, theirs, ours))
        shown = await wire.read_exactly(PROOF_BYTES)
    return hmac.compare_digest(shown, proof(secret, CALLER, theirs, ours))


class Reception:
    """Accepts connections on `listener` and hands those that were admitted to a new `protocol`. An async
    context manager, which does not close the listener."""

    def __init__(
        self, listener: socket.socket, secret: bytes, protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        self.listener = listener
        self.secret = secret
        self.protocol = protocol
        self._tasks: set[asyncio.Task[None]] = set()  # the one that accepts, and one for each that proves

    async def __aenter__(self) -> Reception:
        self.listener.setblocking(False)
        self._spawn(self._accept())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.add(task := asyncio.create_task(work))
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self.listener)
            except OSError as e:
                log.warning("the local API: %s", e)
                await asyncio.sleep(0.1)
                continue
            if len(self._tasks) > MAX_PROVING:
                connection.close()
                await asyncio.sleep(0)  # a crowd at the door keeps nobody inside waiting
                continue
            self._spawn(self._receive(connection))

    async def _receive(self, connection: socket.socket) -> None:
        wire, kept = Wire(connection), False
        try:
            if kept := await admitted(wire, self.secret):
                await asyncio.get_running_loop().connect_accepted_socket(self.protocol, connection)
        except (OSError, TimeoutError):
            kept = False
        finally:
            if not kept:
                wire.close()
