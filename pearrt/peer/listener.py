"""`Listener`: the listening sockets, and the inbound connections that have not been authenticated yet.

Strangers are bounded (`pearrt.peer.admission`), and so are handshakes at once: when all places are taken,
the oldest gives way to the newest. An honest handshake takes two round trips, so the oldest of so many has
had its chance.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pearrt.errors import Unreachable
from pearrt.peer.admission import Admission
from pearrt.peer.bodies import Address
from pearrt.peer.doorway import Doorway
from pearrt.peer.limits import PeerLimits
from pearrt.peer.link import PeerLink

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

BACKLOG = 256
SAME_PORT_TRIES = 8
ACCEPTING_STEPS = 8  # turns of the loop that an accepted connection needs to get its transport, and more

log = logging.getLogger(__name__)


class Listener:
    """Listens on all addresses of `bind`, on one port.

    `inherited`: listening sockets of another process, in the place of binding. `make_link(release)` makes the
    link of an inbound peer, or says None when there is no room; `release` is to be called when that link has
    ended, `authenticated` when it has opened.
    """

    def __init__(
        self,
        bind: list[Address],
        limits: PeerLimits,
        *,
        make_link: Callable[[Callable[[], None]], PeerLink | None],
        http_factory: Callable[[], asyncio.BaseProtocol] | None,
        any_port_if_taken: bool,
        inherited: Sequence[socket.socket] = (),
    ) -> None:
        self._bind = bind
        self._limits = limits
        self._make_link = make_link
        self._http_factory = http_factory
        self._any_port_if_taken = any_port_if_taken
        self._inherited = inherited
        self._admission = Admission(limits)
        self._servers: list[asyncio.Server] = []
        self._doorways: set[Doorway] = set()
        self._strangers: dict[Doorway | PeerLink, None] = {}  # oldest first

    @property
    def addresses(self) -> list[Address]:
        """Where it listens; empty if nowhere."""
        return [server.sockets[0].getsockname()[:2] for server in self._servers if server.sockets]

    @property
    def open_doorways(self) -> int:
        """Connections that have not shown what they are, or speak HTTP."""
        return len(self._doorways)

    async def start(self) -> None:
        """Binds, unless listening sockets were inherited. A port of the system's choice is chosen anew if it
        is taken on another address.

        Raises Unreachable.
        """
        for sock in self._inherited:
            loop = asyncio.get_running_loop()
            self._servers.append(
                await loop.create_server(self._doorway, sock=sock, backlog=BACKLOG, start_serving=False)
            )
        if self._servers:
            return
        bind = self._bind
        for tries_left in reversed(range(SAME_PORT_TRIES)):
            try:
                await self._listen(bind)
            except OSError as e:
                self.stop()
                fixed = any(port for _, port in bind)
                if fixed and self._any_port_if_taken and e.errno == errno.EADDRINUSE:
                    log.warning("port %d is taken: another one is used", bind[0][1])
                    bind = [(host, 0) for host, _ in bind]
                elif fixed or not tries_left:
                    names = ", ".join(f"{host} port {port}" for host, port in bind)
                    hint = "Is the port taken by another program?"
                    raise Unreachable(f"Cannot listen on {names}: {e.strerror or e}.", hint=hint) from e
            else:
                return

    async def _listen(self, bind: list[Address]) -> None:
        loop = asyncio.get_running_loop()
        port = 0
        for host, wanted in bind:
            server = await loop.create_server(self._doorway, host, wanted or port, backlog=BACKLOG)
            self._servers.append(server)
            port = self.addresses[-1][1]

    def sockets(self) -> list[socket.socket]:
        """Duplicates of the listening sockets, for a process that is to listen on."""
        return [server.sockets[0].dup() for server in self._servers if server.sockets]

    async def take_over(self) -> None:
        """Accepts on inherited sockets, which `start` only opens: meanwhile the process that passed them on
        does, and knows what it serves."""
        for server in self._servers:
            await server.start_serving()

    async def stop_listening(self) -> None:
        """Takes nobody in any more; who is in stays, and so does who was accepted a moment ago."""
        for server in self._servers:
            await stop_accepting(server.sockets)
            server.close()
        self._servers.clear()

    def stop(self) -> None:
        """Stops listening and drops who has not become a link."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for doorway in list(self._doorways):
            doorway.abort()

    def authenticated(self, link: PeerLink) -> None:
        """This link is no stranger any more."""
        self._strangers.pop(link, None)

    def _doorway(self) -> Doorway:
        if len(self._strangers) >= self._limits.max_handshakes:
            self._drop_oldest()
        doorway = Doorway(
            self._admission,
            self._limits,
            make_link=self._become_link,
            http_factory=self._http_factory,
            on_end=self._ended,
        )
        self._doorways.add(doorway)
        self._strangers[doorway] = None
        return doorway

    def _become_link(self, doorway: Doorway) -> PeerLink | None:
        link = self._make_link(doorway.release)
        if link is not None:
            self._doorways.discard(doorway)
            self._strangers.pop(doorway, None)
            self._strangers[link] = None
            doorway.link = link
        return link

    def _ended(self, doorway: Doorway) -> None:
        self._doorways.discard(doorway)
        self._strangers.pop(doorway, None)
        if doorway.link is not None:
            self._strangers.pop(doorway.link, None)

    def _drop_oldest(self) -> None:
        for stranger in self._strangers:
            if not (isinstance(stranger, Doorway) and stranger.is_http):
                del self._strangers[stranger]
                stranger.abort()
                return


async def stop_accepting(sockets: Sequence[FileDescriptorLike]) -> None:
    """Before an asyncio server is closed whose sockets somebody else listens on too: a connection that it
    has just accepted would be left hanging, as a closed server gives it no transport."""
    loop = asyncio.get_running_loop()
    for sock in sockets:
        loop.remove_reader(sock)
    for _ in range(ACCEPTING_STEPS):
        await asyncio.sleep(0)
