"""Connections of apps to the hosts that the person granted: the only network an app has.

Rules: the host and port are exactly one of those granted. The name is resolved here, each address is judged
(`sandbox/address.py`: public ones only; `nearby.py`: not this machine's, nor its neighbours'), and the
address that was judged is the one that is dialled: there is no second look-up to answer otherwise. Names are
resolved in threads of their own, of which an app has few: a name server that never answers holds up nobody
else. Streams are bounded in number per app and in all, in bytes, and in the time that nothing moves; what
was revoked is cut.

The app gets one end of a socket pair and never the connection itself, whose descriptor could be connected
anew elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from pearrt.daemon import nearby
from pearrt.daemon.instance import Instance
from pearrt.errors import Denied, LimitExceeded, PeerTimeout, Unreachable, UserError
from pearrt.sandbox.address import is_public, join, public_host
from pearrt.sandbox.policy import Permissions

MAX_STREAMS_PER_APP = 32
MAX_STREAMS = 256
MAX_STREAM_BYTES = 4 << 30  # each way
MAX_ADDRESSES = 8
CONNECT_TIMEOUT_S = 20.0
IDLE_S = 600.0
BUFFER_BYTES = 64 * 1024

MAX_LOOKUPS, MAX_LOOKUPS_PER_APP = 16, 2

Resolve = Callable[[str, int], Awaitable[list[str]]]


class Proxy:
    """Opens streams for `Instance`s, whose `streams` it keeps. Inside a task of the channel's own life."""

    def __init__(
        self, resolve: Resolve | None = None, *, near: Callable[[str], bool] = nearby.is_near
    ) -> None:
        self.resolve = resolve or self._resolve
        self.near = near
        self._resolvers = ThreadPoolExecutor(MAX_LOOKUPS, thread_name_prefix="names")
        self._looking: dict[bytes, asyncio.Semaphore] = {}
        self._open = 0
        self._of: dict[bytes, int] = {}

    async def open(self, instance: Instance, host: str, port: int, granted: Permissions) -> socket.socket:
        """One end of a stream to `host:port`; the other is relayed until either side ends it.

        Raises Denied where that is not granted, UserError for what is no host, LimitExceeded for too many,
        NetworkError where nobody answers.
        """
        host, port = public_host(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", "net.open")
        name = join(host, port)
        if name not in granted.net_hosts:
            raise Denied(
                f"The app may not connect to {name}.",
                hint="It has to ask for just this host and port in `net.hosts`, and the person to grant it.",
            )
        app_key = instance.app_key
        if self._of.get(app_key, 0) >= MAX_STREAMS_PER_APP or self._open >= MAX_STREAMS:
            raise LimitExceeded("Too many connections are open.", hint="Close some first.")
        self._count(app_key, 1)
        try:
            remote = await self._dial(app_key, host, port)
            try:
                ours, theirs = socket.socketpair()
            except OSError as e:
                remote.close()
                raise LimitExceeded("Too many connections are open.", hint="Close some first.") from e
        except BaseException:
            self._count(app_key, -1)
            raise
        ours.setblocking(False)
        task = asyncio.get_running_loop().create_task(_relay(ours, remote), name=f"stream to {name}")
        instance.streams[task] = name

        def ended(task: asyncio.Task[None]) -> None:
            instance.streams.pop(task, None)
            self._count(app_key, -1)
            ours.close()
            remote.close()
            if not task.cancelled():
                task.exception()

        task.add_done_callback(ended)
        return theirs

    def _count(self, app_key: bytes, change: int) -> None:
        self._open += change
        left = self._of.get(app_key, 0) + change
        if left:
            self._of[app_key] = left
        else:
            del self._of[app_key]

    async def _dial(self, app_key: bytes, host: str, port: int) -> socket.socket:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                found = [host] if _is_address(host) else await self._found(app_key, host, port)
                public = [address for address in found if is_public(address)][:MAX_ADDRESSES]
                addresses = [address for address in public if not self.near(address)]
                if not addresses:
                    raise Denied(
                        f"{host} is at no public address that is not of this machine or its network.",
                        hint="Apps are never connected to this machine or its local network.",
                    )
                return await _first(addresses, port)
        except TimeoutError as e:
            raise PeerTimeout(f"{host} did not answer in {CONNECT_TIMEOUT_S:.0f} s.") from e
        except OSError as e:
            raise Unreachable(f"{host} cannot be reached: {e.strerror or e}.") from e

    async def _found(self, app_key: bytes, host: str, port: int) -> list[str]:
        """Who gives up waiting leaves the look-up to its end: its thread is one of the app's until then."""
        looking = self._looking.setdefault(app_key, asyncio.Semaphore(MAX_LOOKUPS_PER_APP))
        await looking.acquire()
        found = asyncio.ensure_future(self.resolve(host, port))
        found.add_done_callback(lambda _: looking.release())
        return await asyncio.shield(found)

    async def _resolve(self, host: str, port: int) -> list[str]:
        """By the system's resolver; in the order that it prefers (RFC 6724)."""
        look = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        found = await asyncio.get_running_loop().run_in_executor(self._resolvers, look)
        return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))


def cut(instance: Instance, granted: Permissions | None = None) -> int:
    """Ends the instance's streams: all, or those that `granted` does not name any more."""
    ending = [
        task for task, name in instance.streams.items() if granted is None or name not in granted.net_hosts
    ]
    for task in ending:
        task.cancel()
    return len(ending)


def _is_address(host: str) -> bool:
    return ":" in host or host.rpartition(".")[2].isdigit()


async def _first(addresses: list[str], port: int) -> socket.socket:
    """Connected to the first address that answers. Raises the last OSError."""
    loop, failed = asyncio.get_running_loop(), OSError("no address")
    for address in addresses:
        remote = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        remote.setblocking(False)
        try:
            await loop.sock_connect(remote, (address, port))
        except OSError as e:
            remote.close()
            failed = e
        except BaseException:
            remote.close()
            raise
        else:
            with contextlib.suppress(OSError):
                remote.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return remote
    raise failed


async def _relay(app: socket.socket, remote: socket.socket) -> None:
    """Both ways until both have ended, or one breaks, or nothing has moved for IDLE_S."""
    moved = _Moved()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(moved.watch())
            ways = [
                tasks.create_task(_copy(app, remote, moved)),
                tasks.create_task(_copy(remote, app, moved)),
            ]
            await asyncio.gather(*ways)
            watch.cancel()


class _Moved:
    """Raises TimeoutError out of `watch` once nothing has moved for IDLE_S."""

    def __init__(self) -> None:
        self.count = 0

    async def watch(self) -> None:
        while True:
            before = self.count
            await asyncio.sleep(IDLE_S)
            if self.count == before:
                raise TimeoutError


async def _copy(source: socket.socket, target: socket.socket, moved: _Moved) -> None:
    loop, left = asyncio.get_running_loop(), MAX_STREAM_BYTES
    while left > 0 and (data := await loop.sock_recv(source, min(BUFFER_BYTES, left))):
        await loop.sock_sendall(target, data)
        left -= len(data)
        moved.count += 1
    if left <= 0:
        raise ConnectionAbortedError("the stream's bytes are used up")
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def read_target(fields: dict[str, object]) -> tuple[str, int]:
    """Host and port of a `net.open` call. Raises UserError."""
    host, port = fields.get("host"), fields.get("port")
    if not isinstance(host, str) or not isinstance(port, int) or isinstance(port, bool) or len(host) > 300:
        raise UserError("net.open takes a host, which is text, and a port, which is a number.")
    return host, port
