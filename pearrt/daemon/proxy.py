"""Connections of apps to the hosts that the person granted: the only network an app has.

Rules: the host and port are exactly one of those granted. The name is resolved here, each address is judged
(`sandbox/address.py`: public ones only), and the address that was judged is the one that is dialled: there is
no second look-up to answer otherwise. Streams are bounded in number per app and in all, in bytes, and in the
time that nothing moves; what was revoked is cut.

The app gets one end of a socket pair and never the connection itself, whose descriptor could be connected
anew elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

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

Resolve = Callable[[str, int], Awaitable[list[str]]]


class Proxy:
    """Opens streams for `Instance`s, whose `streams` it keeps. Inside a task of the channel's own life."""

    def __init__(self, resolve: Resolve | None = None) -> None:
        self.resolve = resolve or _resolve
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
            remote = await self._dial(host, port)
        except BaseException:
            self._count(app_key, -1)
            raise
        ours, theirs = socket.socketpair()
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

    async def _dial(self, host: str, port: int) -> socket.socket:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                found = [host] if _is_address(host) else await self.resolve(host, port)
                addresses = [address for address in found if is_public(address)][:MAX_ADDRESSES]
                if not addresses:
                    raise Denied(
                        f"{host} has no public address.",
                        hint="Apps are never connected to this machine or its local network.",
                    )
                return await _first(addresses, port)
        except TimeoutError as e:
            raise PeerTimeout(f"{host} did not answer in {CONNECT_TIMEOUT_S:.0f} s.") from e
        except OSError as e:
            raise Unreachable(f"{host} cannot be reached: {e.strerror or e}.") from e


def cut(instance: Instance, granted: Permissions | None = None) -> int:
    """Ends the instance's streams: all, or those that `granted` does not name any more."""
    ending = [
        task for task, name in instance.streams.items() if granted is None or name not in granted.net_hosts
    ]
    for task in ending:
        task.cancel()
    return len(ending)


async def _resolve(host: str, port: int) -> list[str]:
    """By the system's resolver; in the order that it prefers (RFC 6724)."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))


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
