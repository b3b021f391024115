"""Peers that a person configured (`--host host:port`): an office's cache host, a friend's machine. A shell:
resolves names when asked, so that a changed address is noticed.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence

from pearrt.link import HostPort

Address = tuple[str, int]

CONFIGURED_ORIGIN = 0  # pearrt.swarm.dialer.Origin.CONFIGURED


class HostsFinder:
    """A PeerFinder for all topics: the configured hosts may serve any app."""

    origin = CONFIGURED_ORIGIN

    def __init__(self, hosts: Sequence[HostPort]) -> None:
        self._hosts = tuple(hosts)

    async def find(self, topic: bytes) -> AsyncIterator[Address]:
        """The addresses of all hosts; one that does not resolve is left out."""
        loop = asyncio.get_running_loop()
        for host in self._hosts:
            try:
                found = await loop.getaddrinfo(host.host, host.port, type=socket.SOCK_STREAM)
            except OSError:
                continue
            for *_, address in found:
                yield str(address[0]), int(address[1])

    async def announce(self, topic: bytes, port: int) -> int:
        """Nothing to do: nobody looks here."""
        return 0
