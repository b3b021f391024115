"""The DHT over real sockets: the asyncio shell around `DhtNode`, one UDP socket per address family.

    async with DhtService(bind=("0.0.0.0", port), bootstrap=DEFAULT_BOOTSTRAP) as dht:
        async for address in dht.get_peers(topic): ...
        stored = await dht.announce(topic, port)

Nothing here waits for the network to come up: sockets are bound, bootstrap hosts are resolved in the
background, and a call made meanwhile starts as soon as there is someone to ask. Without any reachable node,
calls end with nothing found or stored. While the service is open it announces again what was announced (every
15 to 30 minutes) and republishes the mutable items that were put (hourly), until `withdraw` or `forget`. The
routing table is saved on exit and restored on entry.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import random
import socket
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pearrt.crypto import ed25519
from pearrt.dht import table_file as table_format
from pearrt.dht.contact import ID_BYTES, Address, Contact, Family
from pearrt.dht.items import MutableItem, check_own, immutable_item, mutable_target, sign_item
from pearrt.dht.node import DhtNode
from pearrt.dht.node_id import distance
from pearrt.dht.operations import (
    Announce,
    FindImmutable,
    FindMutable,
    FindNodes,
    FindPeers,
    Operation,
    PutImmutable,
    PutMutable,
    SignItem,
)
from pearrt.dht.settings import DEFAULT_BOOTSTRAP, DhtSettings
from pearrt.dht.table_file import SavedTable
from pearrt.dht.udp import NodeSocket, resolve
from pearrt.errors import UserError
from pearrt.link import HostPort

__all__ = ["DEFAULT_BOOTSTRAP", "DhtService", "DhtStats", "PutResult"]

log = logging.getLogger(__name__)

RESOLVE_RETRY_S = 30.0
READY_TIMEOUT_S = 5.0
IDLE_S = 3600.0
OPERATION_TIMEOUT_S = 30.0
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)

_O = TypeVar("_O", bound=Operation)


@dataclass(frozen=True, slots=True)
class PutResult:
    """Where an item went: its target, its seq (0 if immutable), how many nodes stored it and how many refused
    it because they hold a newer one or another than `cas` names."""

    target: bytes
    stored: int
    seq: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class DhtStats:
    """A look at the service: contacts per family, traffic, what is stored for others."""

    node_id: bytes
    contacts_v4: int
    contacts_v6: int
    public_address: str | None
    datagrams_in: int
    datagrams_out: int
    queries_in: int
    queries_out: int
    lookup_queries_out: int
    writes_out: int
    malformed_in: int
    refused_in: int
    topics_stored: int
    items_stored: int


class DhtService:
    """A Mainline DHT node on UDP. An async context manager; every method needs it to be open."""

    def __init__(
        self,
        *,
        bind: Address,
        bootstrap: Sequence[HostPort] = (),
        table_file: Path | None = None,
        read_only: bool = False,
        v6_bind: Address | None = None,
        settings: DhtSettings | None = None,
        seed: int | None = None,
        inherited: Sequence[socket.socket] = (),
    ) -> None:
        """`inherited`: sockets, one per family, that another process passed on, in the place of binding."""
        self._inherited = {_family(sock): sock for sock in inherited}
        self._bind = bind
        self._v6_bind = v6_bind
        self._hosts = list(dict.fromkeys(bootstrap))
        self._unresolved = list(self._hosts)
        self._unresolved_changed = asyncio.Event()
        self._table_file = table_file
        self._read_only = read_only
        self._settings = settings or DhtSettings()
        # Transaction ids and tokens must not be guessable; a seed is for simulations.
        self._rng = random.SystemRandom() if seed is None else random.Random(seed)  # noqa: S311
        self._sockets: list[NodeSocket] = []
        self._waiting: dict[Operation, asyncio.Event] = {}
        self._announced: dict[bytes, tuple[int, float]] = {}
        self._published: dict[bytes, tuple[MutableItem, float]] = {}
        self._ready = asyncio.Event()
        self._upkeep_changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        saved = table_format.decode(self._read_table())
        try:
            await self._open_socket(Family.V4 if ":" not in self._bind[0] else Family.V6, self._bind, saved)
            if self._v6_bind is not None:
                await self._open_v6(self._v6_bind, saved)
        except BaseException:
            self._close_sockets()
            raise
        if len(self._sockets) == 2:
            first, second = self._sockets
            first.node.pair_with(second.node)
            first.sibling, second.sibling = second, first
        self._tasks = [asyncio.create_task(self._resolve_bootstrap()), asyncio.create_task(self._upkeep())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self._save_table()
        self._close_sockets()
        self._sockets = []
        for operation, event in list(self._waiting.items()):
            operation.done = True
            event.set()
        await asyncio.sleep(0)  # lets the transports finish closing
        for failure in ended:
            if isinstance(failure, Exception) and error is None:  # a bug of ours: not to be swallowed
                raise failure

    @property
    def address(self) -> Address:
        """The bound UDP address."""
        return self._sockets[0].address

    @property
    def node_id(self) -> bytes:
        """The id of the first node."""
        return self._sockets[0].node.node_id

    def stats(self) -> DhtStats:
        """Counters and table sizes at this moment, both families together."""
        nodes = [each.node for each in self._sockets]
        sizes = {node.family: len(node.table) for node in nodes}
        return DhtStats(
            node_id=nodes[0].node_id,
            contacts_v4=sizes.get(Family.V4, 0),
            contacts_v6=sizes.get(Family.V6, 0),
            public_address=nodes[0].votes.address,
            datagrams_in=sum(node.counters.datagrams_in for node in nodes),
            datagrams_out=sum(node.counters.datagrams_out for node in nodes),
            queries_in=sum(node.counters.queries_in for node in nodes),
            queries_out=sum(node.counters.queries_out for node in nodes),
            lookup_queries_out=sum(node.counters.lookup_queries_out for node in nodes),
            writes_out=sum(node.counters.writes_out for node in nodes),
            malformed_in=sum(node.counters.malformed_in for node in nodes),
            refused_in=sum(node.counters.refused_in for node in nodes),
            topics_stored=sum(len(node.server.peers) for node in nodes),
            items_stored=sum(len(node.server.items) for node in nodes),
        )

    def sockets(self) -> list[socket.socket]:
        """Duplicates of the sockets, for a process that is to go on with them; the routing table is saved
        for it."""
        self._save_table()
        return [sock for each in self._sockets if (sock := each.duplicate()) is not None]

    async def add_nodes(self, hosts: Iterable[HostPort]) -> None:
        """Names more first nodes, such as those of a link. Returns when they have been resolved and asked;
        those that cannot be resolved now are tried again in the background."""
        fresh = [host for host in dict.fromkeys(hosts) if host not in self._hosts]
        self._hosts += fresh
        await self._resolve(fresh)
        self._unresolved_changed.set()

    # What callers do

    async def lookup(self, target: bytes) -> list[Contact]:
        """The k closest live nodes to a 20-byte target, nearest first."""
        _check_target(target)
        found = await self._run(lambda: FindNodes(target))
        contacts = [contact for operation in found for contact in operation.closest(self._settings.k)]
        return sorted(contacts, key=lambda contact: distance(contact.node_id, target))[: self._settings.k]

    async def get_peers(self, topic20: bytes) -> AsyncGenerator[Address, None]:
        """Peers of a 20-byte topic as they are found; ends with the lookup. Each address comes once."""
        _check_target(topic20)
        await self._wait_ready()
        seen: set[Address] = set()
        for peer in self._announced_here(topic20):
            seen.add(peer)
            yield peer
        operations = [FindPeers(topic20) for _ in self._sockets]
        with self._begun(operations) as changed:
            deadline = self._time() + OPERATION_TIMEOUT_S
            while True:
                for peer in [peer for operation in operations for peer in operation.take_fresh()]:
                    if peer not in seen:
                        seen.add(peer)
                        yield peer
                if all(operation.done for operation in operations):
                    return
                if not await _wait_until(changed, deadline):
                    return

    def _announced_here(self, topic20: bytes) -> list[Address]:
        """Peers that announced themselves to this very node: in a tiny network nobody else has them."""
        most = self._settings.max_peers_per_topic
        return [
            peer
            for each in self._sockets
            for peer in each.node.server.peers.sample(topic20, most, self._time(), self._rng)
        ]

    async def announce(self, topic20: bytes, port: int, *, repeat: bool = True) -> int:
        """Announces this host as a peer of a topic at TCP `port`; returns how many nodes stored it.

        With `repeat` it is announced again every 15 to 30 minutes until `withdraw`.
        """
        _check_target(topic20)
        if not 0 < port < 65536:
            raise UserError(f"{port} is no port.")
        if repeat:
            self._announced[topic20] = (port, self._next_announce())
            self._upkeep_changed.set()
        return sum(operation.stored for operation in await self._run(lambda: Announce(topic20, port)))

    def withdraw(self, topic20: bytes) -> None:
        """Stops announcing a topic; nodes forget it within 45 minutes."""
        self._announced.pop(topic20, None)

    async def put_immutable(self, value: bytes) -> PutResult:
        """Stores `value` (<= 996 bytes) under its hash. Raises UserError if it is too long."""
        item = immutable_item(value)
        done = await self._run(lambda: PutImmutable(item))
        return PutResult(item.target, sum(operation.stored for operation in done))

    async def get_immutable(self, target: bytes) -> bytes | None:
        """The value whose bencoding hashes to `target`."""
        _check_target(target)
        found = await self._run(lambda: FindImmutable(target))
        return next((operation.item.value for operation in found if operation.item is not None), None)

    async def put_mutable(
        self,
        seed: bytes,
        value: bytes,
        *,
        salt: bytes = b"",
        seq: int | None = None,
        cas: int | None = None,
        republish: bool = True,
    ) -> PutResult:
        """Signs `value` with a 32-byte Ed25519 seed and stores it; `seq` is by default one more than the
        newest found.

        With `republish` it is stored again every hour until `forget` or until a newer one is found. Raises
        UserError for a value, salt or seq out of bounds.
        """
        public_key = ed25519.public_key(seed)
        # Refuses what is out of bounds before anything is sent.
        sign_item(seed, value, salt=salt, seq=seq or 0)

        def sign(newest: MutableItem | None) -> MutableItem:
            next_seq = seq if seq is not None else (newest.seq + 1 if newest is not None else 1)
            return sign_item(seed, value, salt=salt, seq=next_seq)

        done = await self._run(lambda: PutMutable(public_key, salt, sign, cas=cas))
        own = max(
            (each.own for each in done if each.own is not None), key=lambda item: item.seq, default=None
        )
        return self._put(done, own, republish=republish)

    async def put_item(self, item: MutableItem) -> PutResult:
        """Stores a mutable item that was signed elsewhere, unless a newer one lies there; again every hour
        as `put_mutable` does. Raises UserError where its signature or a bound does not hold.
        """
        check_own(item.encoded, item.salt, item.seq)
        if not item.verifies():
            raise UserError("The signature of this DHT item does not verify.")
        done = await self._run(lambda: PutMutable(item.public_key, item.salt, _unless_newer(item), cas=None))
        return self._put(done, item, republish=True)

    def _put(self, done: Sequence[PutMutable], item: MutableItem | None, *, republish: bool) -> PutResult:
        """What came of storing an item, which is kept alive from now on where that is wanted."""
        stored = sum(operation.stored for operation in done)
        if republish and item is not None and stored:
            self._published[item.target] = (item, self._time() + self._settings.republish_s)
            self._upkeep_changed.set()
        refused = sum(code in (301, 302) for operation in done for code in operation.refusals)
        return PutResult(done[0].target, stored, item.seq if item is not None else 0, refused)

    async def get_mutable(self, public_key: bytes, *, salt: bytes = b"") -> MutableItem | None:
        """The newest item under a 32-byte Ed25519 key and salt, its signature verified."""
        found = await self._run(lambda: FindMutable(public_key, salt))
        items = [operation.item for operation in found if operation.item is not None]
        return max(items, key=lambda item: item.seq, default=None)

    def forget(self, public_key: bytes, *, salt: bytes = b"") -> None:
        """Stops republishing a mutable item; nodes forget it within two hours."""
        self._published.pop(mutable_target(public_key, salt), None)

    # Operations

    async def _run(self, make: Callable[[], _O]) -> list[_O]:
        """Runs one operation in every family and returns them when all are done or the time is over."""
        await self._wait_ready()
        operations = [make() for _ in self._sockets]
        with self._begun(operations) as changed:
            deadline = self._time() + OPERATION_TIMEOUT_S
            while not all(operation.done for operation in operations):
                if not await _wait_until(changed, deadline):
                    break
        return operations

    @contextlib.contextmanager
    def _begun(self, operations: Sequence[Operation]) -> Iterator[asyncio.Event]:
        """Has every family's node begin its operation; what is not done by then ends with the context. The
        event is set whenever one of them changed."""
        changed = asyncio.Event()
        try:
            for each, operation in zip(self._sockets, operations, strict=True):
                self._waiting[operation] = changed
                each.node.start(operation, self._time())
                each.flush()
            yield changed
        finally:
            for each, operation in zip(self._sockets, operations, strict=False):
                self._waiting.pop(operation, None)
                if not operation.done:
                    each.node.cancel(operation)

    def _operation_changed(self, operation: Operation) -> None:
        event = self._waiting.get(operation)
        if event is not None:
            event.set()

    async def _wait_ready(self) -> None:
        """Waits until the bootstrap hosts are resolved, but not for ever."""
        if not self._sockets:
            raise RuntimeError("the DHT service is not open")
        if not self._ready.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READY_TIMEOUT_S):
                    await self._ready.wait()

    def _time(self) -> float:
        return asyncio.get_running_loop().time()

    # Sockets

    async def _open_socket(self, family: Family, bind: Address, saved: dict[Family, SavedTable]) -> None:
        now = self._time()
        node = DhtNode(
            family,
            rng=self._rng,
            settings=self._settings,
            node_id=saved[family].node_id,
            read_only=self._read_only,
            now=now,
        )
        try:
            each = await NodeSocket.open(node, bind, self._operation_changed, self._inherited.get(family))
        except OSError as e:
            if family is Family.V6 and e.errno in _NO_IPV6:
                raise
            where = HostPort(*bind)
            raise UserError(
                f"Cannot listen on UDP {where}: {e.strerror or e}.", hint="Choose another port."
            ) from e
        self._sockets.append(each)
        node.restore(saved[family].contacts, now)
        each.flush()

    async def _open_v6(self, bind: Address, saved: dict[Family, SavedTable]) -> None:
        try:
            await self._open_socket(Family.V6, bind, saved)
        except OSError as e:
            log.info("no IPv6 here, the DHT goes on with IPv4 alone: %s", e)

    def _close_sockets(self) -> None:
        for each in self._sockets:
            each.close()

    # Bootstrap and the saved table

    async def _resolve_bootstrap(self) -> None:
        """Resolves the hosts that were named, and tries again those that cannot be resolved for as long as it
        takes.
        """
        while True:
            self._unresolved_changed.clear()
            pending, self._unresolved = self._unresolved, []
            await self._resolve(pending)
            self._ready.set()
            deadline = self._time() + (RESOLVE_RETRY_S if self._unresolved else IDLE_S)
            await _wait_until(self._unresolved_changed, deadline)

    async def _resolve(self, hosts: Sequence[HostPort]) -> None:
        resolved = await asyncio.gather(*(resolve(host) for host in hosts))
        self._ask([address for found in resolved for address in found])
        self._unresolved += [host for host, found in zip(hosts, resolved, strict=True) if not found]

    def _ask(self, addresses: list[Address]) -> None:
        for each in self._sockets:
            family = each.node.family
            mine = [address for address in addresses if (":" in address[0]) == (family is Family.V6)]
            each.node.add_bootstrap([address for address in mine if address != each.address], self._time())
            each.flush()

    def _read_table(self) -> bytes:
        if self._table_file is None:
            return b""
        try:
            with self._table_file.open("rb") as file:
                return file.read(table_format.MAX_FILE_BYTES)
        except FileNotFoundError:
            return b""
        except OSError as e:
            log.warning("cannot read the saved DHT table: %s", e)
            return b""

    def _save_table(self) -> None:
        if self._table_file is None or not self._sockets:
            return
        tables = {}
        for each in self._sockets:
            contacts = tuple(entry.contact for entry in each.node.table if entry.failures == 0)
            tables[each.node.family] = SavedTable(each.node.node_id, contacts or each.node.restored)
        temporary = self._table_file.with_name(f"{self._table_file.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(table_format.encode(tables))
            temporary.replace(self._table_file)
        except OSError as e:
            log.warning("cannot save the DHT table: %s", e)

    # What is done again and again

    def _next_announce(self) -> float:
        return self._time() + self._rng.uniform(self._settings.announce_min_s, self._settings.announce_max_s)

    async def _upkeep(self) -> None:
        while True:
            self._upkeep_changed.clear()
            dues = [due for _, due in self._announced.values()] + [due for _, due in self._published.values()]
            await _wait_until(self._upkeep_changed, min(dues, default=self._time() + IDLE_S))
            now = self._time()
            for topic, (port, due) in list(self._announced.items()):
                if due <= now:
                    stored = await self.announce(topic, port)
                    log.debug("announced %s again: %d nodes", topic.hex()[:8], stored)
            for target, (item, due) in list(self._published.items()):
                if due <= now:
                    await self._republish(target, item)

    async def _republish(self, target: bytes, item: MutableItem) -> None:
        """Stores an item as it is, unless a newer one is found: then it is no longer ours to keep alive."""
        done = await self._run(lambda: PutMutable(item.public_key, item.salt, _unless_newer(item), cas=None))
        held = self._published.get(target)
        if held is None or held[0] is not item:
            return
        if any(each.item is not None and each.item.seq > item.seq for each in done):
            del self._published[target]
        else:
            self._published[target] = (item, self._time() + self._settings.republish_s)


def _unless_newer(item: MutableItem) -> SignItem:
    """Stores `item` as it is, or nothing where a newer one is found."""
    return lambda newest: item if newest is None or newest.seq <= item.seq else None


def _family(sock: socket.socket) -> Family:
    return Family.V6 if sock.family is socket.AF_INET6 else Family.V4


async def _wait_until(event: asyncio.Event, deadline: float) -> bool:
    """Waits for `event` and clears it; False when `deadline` comes first."""
    try:
        async with asyncio.timeout_at(deadline):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True


def _check_target(target: bytes) -> None:
    if len(target) != ID_BYTES:
        raise UserError(f"A DHT key has {ID_BYTES} bytes; this has {len(target)}.")
