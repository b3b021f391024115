"""Peers on the LAN by mDNS: a shell around zeroconf, and a finder for the swarm.

`mdns` is `off`, `loopback` (this machine only; for tests and several daemons on one machine) or `all`
interfaces; `interfaces` names IP addresses of interfaces instead. zeroconf is imported when the service
starts, not before. A machine where multicast does not work loses nothing but this: starting fails softly and
`error` says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from pearrt.lan.advertisement import (
    SERVICE_TYPE,
    VERSION,
    VERSION_KEY,
    Address,
    Neighbours,
    instance_name,
    usable_addresses,
)

if TYPE_CHECKING:
    from zeroconf import ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

Mdns = Literal["off", "loopback", "all"]

RESOLVE_TIMEOUT_MS = 3000
MAX_RESOLVING = 32
LAN_ORIGIN = 1  # pearrt.swarm.dialer.Origin.LAN

log = logging.getLogger(__name__)


class LanService:
    """Advertises this peer's port and watches for others; an async context manager and a PeerFinder.

    `port`: the peer port to advertise, at the addresses of the interfaces used.
    """

    origin = LAN_ORIGIN

    def __init__(
        self,
        *,
        port: int,
        mdns: Mdns = "all",
        interfaces: Sequence[str] | None = None,
    ) -> None:
        self.error: str | None = None
        self._port = port
        self._mdns = mdns
        self._interfaces = ["127.0.0.1"] if interfaces is None and mdns == "loopback" else interfaces
        self._neighbours = Neighbours()
        self._watchers: set[asyncio.Queue[Address]] = set()
        self._resolving: set[asyncio.Task[None]] = set()
        self._name = instance_name(os.urandom(8))
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None

    async def __aenter__(self) -> LanService:
        if self._mdns != "off":
            try:
                await self._start()
            except OSError as e:
                self.error = f"mDNS does not work here: {e.strerror or e}"
                log.info("%s", self.error)
                await self._stop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _start(self) -> None:
        from zeroconf import InterfaceChoice, IPVersion, ServiceInfo
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

        interfaces = list(self._interfaces) if self._interfaces is not None else InterfaceChoice.All
        self._zeroconf = AsyncZeroconf(interfaces=interfaces, ip_version=IPVersion.V4Only)
        self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, SERVICE_TYPE, handlers=[self._changed])
        info = ServiceInfo(
            SERVICE_TYPE,
            self._name,
            port=self._port,
            properties={VERSION_KEY: VERSION},
            server=f"{self._name.partition('.')[0]}.local.",
            addresses=[ip_address(host).packed for host in self._advertised_hosts()],
        )
        # The name is random: no need to probe for another instance of it, which costs most of a second.
        await self._zeroconf.async_register_service(info, cooperating_responders=True)

    def _advertised_hosts(self) -> list[str]:
        if self._interfaces is not None:
            return list(self._interfaces)
        from zeroconf import get_all_addresses  # type: ignore[attr-defined]  # public, not in __all__

        return [host for host in get_all_addresses() if not ip_address(host).is_loopback]

    async def _stop(self) -> None:
        for task in self._resolving:
            task.cancel()
        await asyncio.gather(*self._resolving, return_exceptions=True)
        if self._browser is not None:
            await self._browser.async_cancel()
        if self._zeroconf is not None:
            with contextlib.suppress(OSError):
                await self._zeroconf.async_close()
        self._browser = self._zeroconf = None

    # -- hearing

    def _changed(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        from zeroconf import ServiceStateChange

        if name == self._name:
            return
        if state_change is ServiceStateChange.Removed:
            self._neighbours.gone(name)
        elif len(self._resolving) < MAX_RESOLVING:
            task = asyncio.ensure_future(self._resolve(zeroconf, name))
            self._resolving.add(task)
            task.add_done_callback(self._resolving.discard)

    async def _resolve(self, zeroconf: Zeroconf, name: str) -> None:
        from zeroconf import BadTypeInNameException, NotRunningException
        from zeroconf.asyncio import AsyncServiceInfo

        try:
            info = AsyncServiceInfo(SERVICE_TYPE, name)
            found = await info.async_request(zeroconf, RESOLVE_TIMEOUT_MS)
        except (BadTypeInNameException, NotRunningException, OSError) as e:
            log.debug("resolving %s: %s", name[:40], e)
            return
        if not found:
            return
        addresses = usable_addresses(info.parsed_scoped_addresses(), info.port, info.properties)
        for address in self._neighbours.heard(name, addresses):
            for watcher in self._watchers:
                watcher.put_nowait(address)

    # -- the finder

    @property
    def neighbours(self) -> list[Address]:
        """Addresses of all peers heard of on the LAN."""
        return self._neighbours.addresses

    async def find(self, topic: bytes) -> AsyncIterator[Address]:
        """All neighbours, then new ones as they come; does not end while mDNS runs."""
        watcher: asyncio.Queue[Address] = asyncio.Queue()
        self._watchers.add(watcher)
        try:
            for address in self.neighbours:
                yield address
            while self._zeroconf is not None:
                yield await watcher.get()
        finally:
            self._watchers.discard(watcher)

    async def announce(self, topic: bytes, port: int) -> int:
        """Nothing to do: the port is advertised from the start, topics never are."""
        return 0
