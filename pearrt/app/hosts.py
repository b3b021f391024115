"""Hosts that somebody named, as addresses."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable

from pearrt.link import HostPort

RESOLVE_TIMEOUT_S = 5.0


async def resolve(hosts: Iterable[HostPort]) -> list[tuple[str, int]]:
    """The addresses of hosts named by people; a name that does not resolve in time is left out."""
    found = await asyncio.gather(*(_resolve(host) for host in hosts))
    return [address for addresses in found for address in addresses]


async def _resolve(host: HostPort) -> list[tuple[str, int]]:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError, TimeoutError, UnicodeError):
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            entries = await loop.getaddrinfo(host.host, host.port, type=socket.SOCK_STREAM)
            return [(str(sockaddr[0]), host.port) for *_, sockaddr in entries]
    return []
