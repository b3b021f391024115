"""The DHT in one process: 60 nodes on loopback, beside 60 libtorrent sessions doing the same, in one run.

    python benchmarks/dht.py [--nodes 60] [--rounds 60] [--json]

Four operations, each `--rounds` times, one after another, between nodes chosen at random: announce until
another node finds the peer, get_peers, mutable put, mutable get. CPU is that of the whole process, both sides
of every message, less what the idle network burns; time is by the clock. Messages are the queries that
searches send (libtorrent: its own counters). Each ratio is of figures from one run. Goal: CPU within 5x of
libtorrent's, messages per lookup no higher. Exit code 1 if missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

sys.path.insert(0, str(Path(__file__).parents[1]))

from pearrt.crypto import ed25519
from pearrt.dht.service import DhtService
from pearrt.testing import Testnet
from tests.support.libtorrent_dht import LibtorrentNode

GOAL_RATIO = 5.0
SETTLE_S = 1.0
POLL_S = 0.005
PATIENCE_S = 0.2
OPERATIONS = ("announce to visible", "get_peers", "mutable put", "mutable get")
LOOKUPS = ("get_peers", "mutable get")


@dataclass(frozen=True, slots=True)
class Cost:
    """One operation, mean CPU and median time in ms, and search queries sent, per round."""

    cpu_ms: float
    time_ms: float
    queries: float


class Side(Protocol):
    """One implementation's network."""

    async def queries(self) -> int: ...
    async def announce_until_visible(self, topic: bytes, port: int) -> None: ...
    async def get_peers(self, topic: bytes) -> bool: ...
    async def put(self, seed: bytes, value: bytes) -> None: ...
    async def get(self, seed: bytes, value: bytes) -> bool: ...


class Ours:
    """A Testnet of this package's nodes."""

    def __init__(self, nodes: list[DhtService], rng: random.Random) -> None:
        self._nodes = nodes
        self._rng = rng

    async def queries(self) -> int:
        return sum(node.stats().lookup_queries_out for node in self._nodes)

    async def announce_until_visible(self, topic: bytes, port: int) -> None:
        await self._pick().announce(topic, port, repeat=False)
        while not await self.get_peers(topic):
            pass

    async def get_peers(self, topic: bytes) -> bool:
        return bool([peer async for peer in self._pick().get_peers(topic)])

    async def put(self, seed: bytes, value: bytes) -> None:
        result = await self._pick().put_mutable(seed, value, republish=False)
        assert result.stored >= 8, result

    async def get(self, seed: bytes, value: bytes) -> bool:
        item = await self._pick().get_mutable(ed25519.public_key(seed))
        return item is not None and item.value == value

    def _pick(self) -> DhtService:
        return self._rng.choice(self._nodes)


class Libtorrents:
    """As many libtorrent sessions."""

    def __init__(self, nodes: list[LibtorrentNode], rng: random.Random) -> None:
        self._nodes = nodes
        self._rng = rng

    async def queries(self) -> int:
        counters = [await node.counters() for node in self._nodes]
        return sum(each["dht.dht_get_peers_out"] + each["dht.dht_get_out"] for each in counters)

    async def announce_until_visible(self, topic: bytes, port: int) -> None:
        self._pick().announce(topic, port)
        while not self._search(topic, POLL_S):
            pass

    async def get_peers(self, topic: bytes) -> bool:
        return any(self._search(topic, PATIENCE_S) for _ in range(5))

    def _search(self, topic: bytes, patience_s: float) -> bool:
        node = self._pick()
        node.session.dht_get_peers(node.lt.sha1_hash(topic))
        deadline = time.perf_counter() + patience_s
        while (left := deadline - time.perf_counter()) > 0:
            node.session.wait_for_alert(max(1, int(left * 1000)))
            for alert in node.session.pop_alerts():
                if (
                    type(alert).__name__ == "dht_get_peers_reply_alert"
                    and alert.info_hash.to_bytes() == topic
                    and alert.num_peers()
                ):
                    return True
        return False

    async def put(self, seed: bytes, value: bytes) -> None:
        node = self._pick()
        public = ed25519.public_key(seed)
        node.session.dht_put_mutable_item(node.private_key(seed), public, value, b"")
        self._wait(node, "dht_put_alert")

    async def get(self, seed: bytes, value: bytes) -> bool:
        node = self._pick()
        node.session.dht_get_mutable_item(ed25519.public_key(seed), b"")
        return bool(self._wait(node, "dht_mutable_item_alert").item == value)

    def _wait(self, node: LibtorrentNode, kind: str) -> object:
        while True:
            node.session.wait_for_alert(1000)
            for alert in node.session.pop_alerts():
                if type(alert).__name__ == kind and getattr(alert, "authoritative", True):
                    return alert

    def _pick(self) -> LibtorrentNode:
        return self._rng.choice(self._nodes)


async def measure(side: Side, rounds: int) -> dict[str, Cost]:
    """The four operations on one network."""
    topics = [os.urandom(20) for _ in range(rounds)]
    seeds = [os.urandom(32) for _ in range(rounds)]

    async def found(done: Awaitable[bool]) -> None:
        assert await done

    steps: dict[str, Callable[[int], Awaitable[None]]] = {
        "announce to visible": lambda i: side.announce_until_visible(topics[i], 4000 + i),
        "get_peers": lambda i: found(side.get_peers(topics[i])),
        "mutable put": lambda i: side.put(seeds[i], b"value %d" % i),
        "mutable get": lambda i: found(side.get(seeds[i], b"value %d" % i)),
    }
    idle = await _idle_cpu_share()
    return {name: await _cost(side, step, rounds, idle) for name, step in steps.items()}


async def _idle_cpu_share() -> float:
    cpu, clock = time.process_time(), time.perf_counter()
    await asyncio.sleep(SETTLE_S)
    return (time.process_time() - cpu) / (time.perf_counter() - clock)


async def _cost(side: Side, step: Callable[[int], Awaitable[None]], rounds: int, idle: float) -> Cost:
    before = await side.queries()
    times: list[float] = []
    cpu, clock = time.process_time(), time.perf_counter()
    for i in range(rounds):
        begin = time.perf_counter()
        await step(i)
        times.append(time.perf_counter() - begin)
    await asyncio.sleep(0.2)  # libtorrent answers before its search ends: its last messages count too
    spent = time.process_time() - cpu - idle * (time.perf_counter() - clock)
    queries = await side.queries() - before
    return Cost(1000 * spent / rounds, 1000 * statistics.median(times), queries / rounds)


async def ours(nodes: int, rounds: int, rng: random.Random) -> dict[str, Cost]:
    async with Testnet(nodes) as net:
        await asyncio.sleep(SETTLE_S)
        side = Ours(net.nodes, rng)
        for node in net.nodes:
            await node.lookup(os.urandom(20))
        return await measure(side, rounds)


async def libtorrents(nodes: int, rounds: int, rng: random.Random) -> dict[str, Cost]:
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(LibtorrentNode()) for _ in range(nodes)]
        for session in sessions:
            session.know(rng.sample([each.address for each in sessions], 16))
        deadline = time.monotonic() + 20
        while min([await session.node_count() for session in sessions]) < 8 and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
        side = Libtorrents(sessions, rng)
        for session in sessions:
            session.session.dht_get_peers(session.lt.sha1_hash(os.urandom(20)))
        await asyncio.sleep(SETTLE_S)
        return await measure(side, rounds)


def report(theirs: dict[str, Cost], own: dict[str, Cost], nodes: int) -> tuple[dict[str, object], bool]:
    """All figures and ratios, and whether the goals are met."""
    rows = []
    for name in OPERATIONS:
        rows.append(
            {
                "operation": name,
                "pearrt": asdict(own[name]),
                "libtorrent": asdict(theirs[name]),
                "cpu_ratio": own[name].cpu_ms / theirs[name].cpu_ms,
                "time_ratio": own[name].time_ms / theirs[name].time_ms,
                "queries_ratio": own[name].queries / max(1e-9, theirs[name].queries),
            }
        )
    met = all(row["cpu_ratio"] <= GOAL_RATIO for row in rows) and all(
        row["queries_ratio"] <= 1 for row in rows if row["operation"] in LOOKUPS
    )
    return {"nodes": nodes, "goal_ratio": GOAL_RATIO, "goals_met": met, "rows": rows}, met


def table(result: dict[str, object]) -> str:
    """The figures for people."""
    lines = [
        f"DHT, {result['nodes']} nodes in one process, loopback; CPU of both ends together",
        f"{'':<20}{'CPU ms':>18}{'':>8}{'clock ms':>20}{'':>8}{'search queries':>20}",
        f"{'':<20}{'pearrt':>9}{'libtorr.':>9}{'ratio':>8}{'pearrt':>11}{'libtorr.':>9}{'ratio':>8}"
        f"{'pearrt':>11}{'libtorr.':>9}",
    ]
    for row in result["rows"]:  # type: ignore[attr-defined]
        own, theirs = row["pearrt"], row["libtorrent"]
        lines.append(
            f"{row['operation']:<20}{own['cpu_ms']:>9.2f}{theirs['cpu_ms']:>9.2f}{row['cpu_ratio']:>8.1f}"
            f"{own['time_ms']:>11.2f}{theirs['time_ms']:>9.2f}{row['time_ratio']:>8.1f}"
            f"{own['queries']:>11.1f}{theirs['queries']:>9.1f}"
        )
    verdict = "met" if result["goals_met"] else "MISSED"
    lines.append(f"goal (CPU <= {GOAL_RATIO:g}x, queries per lookup no higher): {verdict}")
    return "\n".join(lines)


def main() -> int:
    """Runs both sides and prints a table or JSON."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--nodes", type=int, default=60)
    options.add_argument("--rounds", type=int, default=60)
    options.add_argument("--json", action="store_true")
    arguments = options.parse_args()
    rng = random.Random(1)
    theirs = asyncio.run(libtorrents(arguments.nodes, arguments.rounds, rng))
    own = asyncio.run(ours(arguments.nodes, arguments.rounds, rng))
    result, met = report(theirs, own, arguments.nodes)
    print(json.dumps(result, indent=2) if arguments.json else table(result))
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
