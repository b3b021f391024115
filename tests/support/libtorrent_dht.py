"""libtorrent DHT nodes on loopback, to test against.

What it takes for libtorrent to run a DHT on one address: no bootstrap routers but `add_dht_node`, no limits
per IP address in the routing table, and no rate limits. LSD, UPnP and NAT-PMP are off, so that nothing leaves
loopback.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from tests.support.require import require_module

POLL_S = 0.005


def expanded_key(seed: bytes) -> bytes:
    """The 64-byte private key that libtorrent wants: SHA-512 of the seed, clamped."""
    digest = bytearray(hashlib.sha512(seed).digest())
    digest[0] &= 248
    digest[31] = digest[31] & 63 | 64
    return bytes(digest)


class LibtorrentNode:
    """One libtorrent session that does nothing but DHT. An async context manager."""

    def __init__(self) -> None:
        self.lt: Any = require_module("libtorrent")
        category = self.lt.alert.category_t
        self.session: Any = self.lt.session(
            {
                "listen_interfaces": "127.0.0.1:0",
                "enable_dht": True,
                "enable_lsd": False,
                "enable_upnp": False,
                "enable_natpmp": False,
                "dht_bootstrap_nodes": "",
                "dht_restrict_routing_ips": False,
                "dht_restrict_search_ips": False,
                "dht_enforce_node_id": False,
                "dht_block_ratelimit": 1_000_000,
                "dht_upload_rate_limit": 10**7,
                "alert_mask": category.dht_notification
                | category.dht_operation_notification
                | category.stats_notification,
                "alert_queue_size": 100_000,
            }
        )
        self.address: tuple[str, int] = ("127.0.0.1", self.session.listen_port())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._close)  # its destructor waits for its threads

    def _close(self) -> None:
        self.session = None

    def know(self, addresses: Iterable[tuple[str, int]]) -> None:
        """Tells the session of other nodes."""
        for address in addresses:
            self.session.add_dht_node(address)

    async def wait_for(self, kind: str, accept: Callable[[Any], bool] = bool, timeout_s: float = 20.0) -> Any:
        """The next alert of the class named `kind` that `accept` likes."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for alert in self.session.pop_alerts():
                if type(alert).__name__ == kind and accept(alert):
                    return alert
            await asyncio.sleep(POLL_S)
        raise TimeoutError(f"libtorrent sent no {kind}")

    async def counters(self) -> dict[str, int]:
        """libtorrent's own statistics, by name."""
        self.session.post_session_stats()
        alert = await self.wait_for("session_stats_alert", lambda alert: True)
        return dict(alert.values)

    async def node_count(self) -> int:
        """How many nodes its routing table holds."""
        return (await self.counters())["dht.dht_nodes"]

    async def get_peers(self, topic: bytes, wanted: tuple[str, int] | None = None) -> list[tuple[str, int]]:
        """The peers it finds for a topic; looks again until it has found any (or `wanted`)."""
        for _ in range(10):
            self.session.dht_get_peers(self.lt.sha1_hash(topic))
            try:
                alert = await self.wait_for(
                    "dht_get_peers_reply_alert",
                    lambda alert: alert.info_hash.to_bytes() == topic and bool(alert.peers()),
                    timeout_s=2.0,
                )
            except TimeoutError:
                continue
            peers = [tuple(peer) for peer in alert.peers()]
            if wanted is None or wanted in peers:
                return peers
        return []

    def announce(self, topic: bytes, port: int) -> None:
        self.session.dht_announce(self.lt.sha1_hash(topic), port, 0)

    def private_key(self, seed: bytes) -> bytes:
        return expanded_key(seed)

    async def put_mutable(self, seed: bytes, public: bytes, value: bytes, salt: bytes) -> int:
        """Stores a mutable item and returns how many nodes took it."""
        self.session.dht_put_mutable_item(expanded_key(seed), public, value, salt)
        alert = await self.wait_for("dht_put_alert")
        return int(alert.num_success)

    async def get_mutable(self, public: bytes, salt: bytes) -> Any:
        """The alert with the newest mutable item it finds."""
        self.session.dht_get_mutable_item(public, salt)
        return await self.wait_for("dht_mutable_item_alert", lambda alert: alert.authoritative)

    async def put_immutable(self, value: bytes) -> bytes:
        """Stores an immutable item and returns its target."""
        target = self.session.dht_put_immutable_item(value)
        await self.wait_for("dht_put_alert")
        return bytes(target.to_bytes())

    async def get_immutable(self, target: bytes) -> Any:
        self.session.dht_get_immutable_item(self.lt.sha1_hash(target))
        return await self.wait_for(
            "dht_immutable_item_alert", lambda alert: alert.target.to_bytes() == target
        )
