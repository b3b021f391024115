"""One accepted connection of the apps' socket: frames in, frames out, a descriptor beside a frame.

Rules: what waits to be sent is bounded in number and bytes; who does not read gets no more answers until it
does, and events that find no room are dropped and counted. Reading takes no more than a frame at a time, so
an app that floods waits in its own socket. Descriptors that an app sends are never taken: the kernel closes
them. An attendant's are (`taking`), MAX_TAKEN at once, each beside the frame that it belongs to.
"""

from __future__ import annotations

import asyncio
import io
import os
import socket
from collections import deque
from typing import Any, Protocol

from pearrt.errors import ProtocolViolation
from pearrt.sdk import frames

MAX_QUEUED_FRAMES = 256
MAX_QUEUED_BYTES = 1 << 20
MAX_TAKEN = 4


class Passable(Protocol):
    """What has a descriptor: a socket, or an `io.FileIO`."""

    def fileno(self) -> int: ...
    def close(self) -> None: ...


class Wire:
    """`run` sends what was posted until it is cancelled; `read_frame` is for one reader."""

    def __init__(self, connection: socket.socket, held: bytes = b"") -> None:
        connection.setblocking(False)
        self.connection = connection
        self.held = bytearray(held)  # read and not yet taken: a reader that is cancelled loses nothing
        self.dropped = 0
        self.taking = False  # set for an attendant
        self.taken: list[io.FileIO] = []
        self._queue: deque[tuple[bytes, Passable | None]] = deque()
        self._queued_bytes = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def read_exactly(self, size: int) -> bytes:
        """Raises ConnectionError at the end of the stream."""
        await self._hold(size)
        data = bytes(self.held[:size])
        del self.held[:size]
        return data

    async def _hold(self, size: int) -> None:
        while len(self.held) < size:
            try:
                part = self._receive(size - len(self.held))
            except BlockingIOError:
                await self._readable()
                continue
            if not part:
                raise ConnectionResetError("the other end has gone")
            self.held += part  # at once: nothing read is in flight when a reader is cancelled

    def _receive(self, size: int) -> bytes:
        if not self.taking or not hasattr(socket, "recv_fds"):  # Windows passes none
            return self.connection.recv(size)
        part, fds, _, _ = socket.recv_fds(self.connection, size, MAX_TAKEN, socket.MSG_CMSG_CLOEXEC)
        for fd in fds:
            try:
                self.taken.append(io.FileIO(fd, _mode_of(fd)))
            except OSError:  # a folder's
                os.close(fd)
        for surplus in self.taken[MAX_TAKEN:]:
            surplus.close()
        del self.taken[MAX_TAKEN:]
        return part

    def take_files(self) -> list[io.FileIO]:
        """What came along since the last time; the caller closes it."""
        taken, self.taken = self.taken, []
        return taken

    async def read_frame(self) -> dict[str, Any]:
        """The next message. Raises ProtocolViolation for what is none, ConnectionError at the end."""
        try:
            await self._hold(frames.LENGTH_BYTES)
            size = frames.LENGTH_BYTES + frames.length(bytes(self.held[: frames.LENGTH_BYTES]))
            await self._hold(size)
            return frames.parse((await self.read_exactly(size))[frames.LENGTH_BYTES :])
        except frames.BadFrame as e:
            raise ProtocolViolation(str(e)) from e

    async def write(self, data: bytes) -> None:
        """Bytes outside any frame, before `run` begins."""
        await asyncio.get_running_loop().sock_sendall(self.connection, data)

    @property
    def flushed(self) -> bool:
        """Whether the kernel has all that was queued."""
        return not self._queue

    def post(self, message: dict[str, Any]) -> bool:
        """Queues an event; False where there is no room for it."""
        if not self._room.is_set():
            self.dropped += 1
            return False
        self._put(frames.encode(message), None)
        return True

    async def answer(self, message: dict[str, Any], passed: Passable | None = None) -> None:
        """Queues an answer once there is room. `passed` goes along and is closed here."""
        try:
            data = frames.encode(message)
            await self._room.wait()
        except BaseException:
            if passed is not None:
                passed.close()
            raise
        self._put(data, passed)

    def _put(self, data: bytes, passed: Passable | None) -> None:
        self._queue.append((data, passed))
        self._queued_bytes += len(data)
        if len(self._queue) >= MAX_QUEUED_FRAMES or self._queued_bytes >= MAX_QUEUED_BYTES:
            self._room.clear()
        self._news.set()

    async def run(self) -> None:
        """Sends what is posted, in order. Raises ConnectionError when nobody is there any more."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._queue:
                data, passed = self._queue[0]
                await self._send(data, passed)
                self._queue.popleft()
                self._queued_bytes -= len(data)
                if passed is not None:
                    passed.close()
                if len(self._queue) < MAX_QUEUED_FRAMES and self._queued_bytes < MAX_QUEUED_BYTES:
                    self._room.set()

    async def _send(self, data: bytes, passed: Passable | None) -> None:
        view = memoryview(data)
        if passed is not None and not hasattr(socket, "send_fds"):
            raise ConnectionAbortedError("nothing can be passed to an app on this system")
        if passed is not None:  # a descriptor travels with one byte: the first of its frame
            while True:
                try:
                    sent = socket.send_fds(self.connection, [view], [passed.fileno()])
                    break
                except BlockingIOError:
                    await self._writable()
            view = view[sent:]
        await asyncio.get_running_loop().sock_sendall(self.connection, view)

    async def _writable(self) -> None:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_writer(self.connection, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(self.connection)

    async def _readable(self) -> None:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.connection, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self.connection)

    def close(self) -> None:
        """Closes the connection and what waited to be passed; whoever reads or runs was cancelled before."""
        for _, passed in self._queue:
            if passed is not None:
                passed.close()
        self._queue.clear()
        for file in self.take_files():
            file.close()
        self.connection.close()


def _mode_of(fd: int) -> str:
    import fcntl

    return {os.O_RDONLY: "rb", os.O_WRONLY: "wb"}.get(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE, "r+b")
