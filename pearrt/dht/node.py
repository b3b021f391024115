"""A DHT node without I/O: datagrams and `now` in, datagrams and finished operations out.

    node.receive(data, source, now)      a datagram came in
    node.handle_timer(now)               `node.next_timer()` has come
    node.start(operation, now)           begin a lookup, announce or put
    node.take_datagrams()                what to send, after each of the calls above
    node.take_changed()                  operations with news: peers found, or done

One node serves one address family (BEP 45: one node per address); `sibling` is the other family's node of the
same host, whose contacts are handed out and taken in where `want` asks for them (BEP 32). A read-only node
(BEP 43) marks its queries and answers none. Nothing here raises on what a stranger sends.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from pearrt.dht.contact import Address, Contact, Family, Scope, scope_of, usable
from pearrt.dht.krpc import (
    BadArguments,
    encode_error,
    encode_query,
    encode_response,
    parse,
)
from pearrt.dht.lookup import Lookup
from pearrt.dht.messages import (
    ErrorReply,
    FindNode,
    Ping,
    Query,
    Request,
    Response,
)
from pearrt.dht.node_id import is_secure, random_id, secure_id
from pearrt.dht.operations import Join, Operation
from pearrt.dht.rate_limit import RateLimit, ReplyBudget
from pearrt.dht.requests import Pending, Purpose, Requests
from pearrt.dht.routing import RoutingTable
from pearrt.dht.server import Server
from pearrt.dht.settings import DhtSettings
from pearrt.dht.upkeep import FEW_NODES, Upkeep
from pearrt.dht.voting import AddressVotes
from pearrt.errors import RemoteError

_MAX_PINGS = 16
_LOCALHOST = "127.0.0.1"  # a source that may name any usable address


@dataclass(slots=True)
class Counters:
    """What one node has sent and received since it began."""

    datagrams_in: int = 0
    datagrams_out: int = 0
    queries_in: int = 0
    queries_out: int = 0
    lookup_queries_out: int = 0  # of these, for lookups
    writes_out: int = 0  # and for announce_peer and put
    malformed_in: int = 0
    refused_in: int = 0


class DhtNode:
    """One Mainline DHT node in one address family."""

    def __init__(
        self,
        family: Family,
        *,
        rng: random.Random,
        settings: DhtSettings | None = None,
        node_id: bytes | None = None,
        read_only: bool = False,
        now: float = 0.0,
    ) -> None:
        self.family = family
        self.settings = settings or DhtSettings()
        self.read_only = read_only
        self.counters = Counters()
        self.votes = AddressVotes()
        self.sibling: DhtNode | None = None
        self._rng = rng
        self.table = RoutingTable(node_id or random_id(rng), self.settings)
        self.server = Server(family, {family: self.table}, self.settings, rng)
        self._requests = Requests(
            short_timeout_s=self.settings.short_timeout_s,
            full_timeout_s=self.settings.full_timeout_s,
            limit=self.settings.max_inflight,
            rng=rng,
        )
        self._rate = RateLimit(
            limit=self.settings.max_queries_per_window,
            window_s=self.settings.rate_window_s,
            ban_s=self.settings.ban_s,
            max_tracked=self.settings.max_tracked_addresses,
        )
        self._budget = ReplyBudget(self.settings.max_reply_bytes_per_s)
        self._outbox: list[tuple[bytes, Address]] = []
        self._changed: list[Operation] = []
        self._operations: set[Operation] = set()
        self._pinging: set[Address] = set()
        self.restored: tuple[Contact, ...] = ()
        self._bootstrap: list[Address] = []
        self._upkeep = Upkeep(self.settings, rng, now)

    @property
    def node_id(self) -> bytes:
        """This node's id; it changes when the address vote shows that BEP 42 wants another."""
        return self.table.own_id

    def pair_with(self, sibling: DhtNode) -> None:
        """Makes this node and that of the other family answer for each other's contacts (BEP 32)."""
        self.sibling, sibling.sibling = sibling, self
        self._share_tables()
        sibling._share_tables()

    def _share_tables(self) -> None:
        tables = {self.family: self.table}
        if self.sibling is not None:
            tables[self.sibling.family] = self.sibling.table
        self.server.tables = tables

    # Input

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """Takes in one datagram."""
        self.counters.datagrams_in += 1
        if source[1] == 0 or scope_of(source[0]) is Scope.UNUSABLE:
            return
        try:
            message = parse(data)
        except BadArguments as e:
            self.counters.malformed_in += 1
            if self._admit(source, now):
                self._reply(encode_error(ErrorReply(e.transaction, e.error_code, e.text)), source, now)
            return
        except RemoteError:
            self.counters.malformed_in += 1
            return
        if isinstance(message, Query):
            self._take_query(message, source, now)
        elif isinstance(message, Response):
            self._take_response(message, source, now)
        else:
            self._take_error(message, source, now)

    def _admit(self, source: Address, now: float) -> bool:
        if self.read_only:
            return False
        if self._rate.admit(source[0], now):
            return True
        self.counters.refused_in += 1
        return False

    def _take_query(self, query: Query, source: Address, now: float) -> None:
        self.counters.queries_in += 1
        if not self._admit(source, now):
            return
        answer = self.server.answer(query, source, now)
        self._reply(
            encode_response(answer) if isinstance(answer, Response) else encode_error(answer), source, now
        )
        contact = Contact(query.sender, source)
        if not query.read_only and self.table.asked(contact, now):
            self._ping(contact, now)

    def _take_response(self, response: Response, source: Address, now: float) -> None:
        pending = self._requests.close(response.transaction, source, now)
        if pending is None:
            return
        self._pinging.discard(source)
        contact = Contact(response.sender, source)
        if pending.contact.node_id not in (response.sender, b""):
            self.table.failed(pending.contact)
        self.table.answered(contact, now)
        if response.observed is not None and self.votes.vote(source[0], response.observed[0]):
            self._adopt_secure_id(now)
        contacts, others = response.contacts, response.contacts6
        if self.family is Family.V6:
            contacts, others = others, contacts
        if self.sibling is not None:
            self.sibling.hear_of(others, source, now)
        operation = pending.operation
        if operation is None:
            self.hear_of(contacts, source, now)
        elif pending.purpose is Purpose.WRITE:
            operation.stored += 1
            self._write_settled(operation)
        elif operation.lookup is not None and not operation.done:
            if pending.purpose is Purpose.WIDEN:
                operation.lookup.widened(source, contacts)
            else:
                operation.lookup.answered(source, response.sender, response.token, contacts)
                operation.heard(contact, response)
                self._changed.append(operation)
            self._advance(operation, now)

    def _take_error(self, error: ErrorReply, source: Address, now: float) -> None:
        pending = self._requests.close(error.transaction, source, now)
        if pending is None:
            return
        self._pinging.discard(source)
        if pending.operation is not None and pending.purpose is Purpose.WRITE:
            pending.operation.refusals.append(error.code)
        self._give_up(pending, now)

    # Operations

    def start(self, operation: Operation, now: float) -> None:
        """Begins `operation`; it is done when `take_changed` returns it with `done` set."""
        settings = self.settings
        width = settings.k if operation.wide else settings.search_width
        known = self.table.closest(operation.target, settings.k)
        operation.started = now
        operation.lookup = Lookup(operation.target, known, settings, width=width, own_id=self.node_id)
        if len(known) < FEW_NODES:
            for address in [*self._bootstrap, *(contact.address for contact in self.restored[:FEW_NODES])]:
                operation.lookup.add_seed(address)
        self._operations.add(operation)
        self._advance(operation, now)

    def cancel(self, operation: Operation) -> None:
        """Stops an operation; answers still on their way are ignored."""
        operation.done = True
        self._operations.discard(operation)

    def _advance(self, operation: Operation, now: float) -> None:
        lookup = operation.lookup
        if lookup is None or operation.done or operation.writing:
            return
        if not operation.satisfied:
            sent = False
            for contact in lookup.next_contacts():
                if self._send(contact, operation.request, now, operation, Purpose.SEARCH):
                    sent = True
                else:
                    lookup.failed(contact.address)
            if sent:
                return
            for contact, target in lookup.next_widening():
                if not self._send(contact, FindNode(target), now, operation, Purpose.WIDEN):
                    lookup.widened(contact.address, ())
            if not lookup.finished:
                return
        operation.requests = lookup.requests
        self._write(operation, now)

    def _write(self, operation: Operation, now: float) -> None:
        operation.writing = True
        for contact, request in operation.writes(self.settings.k):
            if self._send(contact, request, now, operation, Purpose.WRITE):
                operation.writes_open += 1
                operation.requests += 1
        if operation.writes_open == 0:
            self._finish(operation)

    def _write_settled(self, operation: Operation) -> None:
        operation.writes_open -= 1
        if operation.writes_open == 0:
            self._finish(operation)

    def _finish(self, operation: Operation) -> None:
        if not operation.done:
            operation.done = True
            self._operations.discard(operation)
            self._changed.append(operation)

    # Output

    def take_datagrams(self) -> list[tuple[bytes, Address]]:
        """The datagrams to send now, oldest first."""
        outbox = self._outbox
        if outbox:
            self._outbox = []
            self.counters.datagrams_out += len(outbox)
        return outbox

    def take_changed(self) -> list[Operation]:
        """The operations that have news since the last call; one may appear more than once."""
        changed = self._changed
        if changed:
            self._changed = []
        return changed

    def _reply(self, data: bytes, source: Address, now: float) -> None:
        if self._budget.spend(len(data), source[0], now):
            self._outbox.append((data, source))
        else:
            self.counters.refused_in += 1

    def _send(
        self,
        contact: Contact,
        request: Request,
        now: float,
        operation: Operation | None = None,
        purpose: Purpose = Purpose.UPKEEP,
    ) -> bool:
        if self._requests.full:
            return False
        transaction = self._requests.open(contact, operation, purpose, now)
        self._outbox.append(
            (encode_query(Query(transaction, self.node_id, request, self.read_only)), contact.address)
        )
        self.counters.queries_out += 1
        if purpose is Purpose.WRITE:
            self.counters.writes_out += 1
        elif purpose is not Purpose.UPKEEP:
            self.counters.lookup_queries_out += 1
        return True

    # Time

    def next_timer(self) -> float:
        """When `handle_timer` wants to be called next."""
        return min(self._requests.next_deadline(), self._upkeep.next_at)

    def handle_timer(self, now: float) -> None:
        """Times out requests and does the housekeeping that is due."""
        for pending in self._requests.take_late(now):
            self._wait_less(pending, now, overdue=False)
        for pending in self._requests.take_overdue(now):
            self._wait_less(pending, now, overdue=True)
        for pending in self._requests.take_failed(now):
            self._pinging.discard(pending.contact.address)
            replacement = self.table.failed(pending.contact)
            if replacement is not None:
                self._ping(replacement, now)
            self._give_up(pending, now)
        if now >= self._upkeep.next_at:
            self._maintain(now)

    def _wait_less(self, pending: Pending, now: float, *, overdue: bool) -> None:
        """A lookup's request has become late or overdue."""
        operation = pending.operation
        if operation is None or operation.lookup is None or operation.done:
            return
        address = pending.contact.address
        if pending.purpose is Purpose.WIDEN:
            pending.operation, pending.purpose = None, Purpose.UPKEEP
            operation.lookup.widened(address, ())
        elif overdue:
            operation.lookup.overdue(address)
        else:
            operation.lookup.late(address)
        self._advance(operation, now)

    def _give_up(self, pending: Pending, now: float) -> None:
        operation = pending.operation
        if operation is None or operation.done:
            return
        address = pending.contact.address
        if pending.purpose is Purpose.WRITE:
            self._write_settled(operation)
        elif operation.lookup is not None:
            if pending.purpose is Purpose.WIDEN:
                operation.lookup.widened(address, ())
            else:
                operation.lookup.failed(address)
            self._advance(operation, now)

    # Housekeeping

    def add_bootstrap(self, addresses: Iterable[Address], now: float) -> None:
        """Names first nodes to ask, and asks them if few others are known."""
        for address in addresses:
            if address not in self._bootstrap:
                self._bootstrap.append(address)
        if self._bootstrap and len(self.table) < FEW_NODES:
            self._look_up_self(now)

    def restore(self, contacts: Iterable[Contact], now: float) -> None:
        """Takes contacts of an earlier run: each is pinged and becomes an entry when it answers."""
        self.restored = tuple(contact for contact in contacts if usable(contact.address, _LOCALHOST))
        for contact in self.restored:
            if self.table.wants(contact):
                self._send(contact, Ping(), now)

    def hear_of(self, contacts: Iterable[Contact], source: Address, now: float) -> None:
        """Others told of `contacts`: those that the table has room for are pinged, a few at a time."""
        for contact in contacts:
            if len(self._pinging) >= _MAX_PINGS:
                return
            if usable(contact.address, source[0]) and self.table.wants(contact):
                self._ping(contact, now)

    def _ping(self, contact: Contact, now: float) -> None:
        if len(self._pinging) < _MAX_PINGS and contact.address not in self._pinging:
            self._pinging.add(contact.address)
            self._send(contact, Ping(), now)

    def _maintain(self, now: float) -> None:
        chores = self._upkeep.due(now, self.table, first_nodes=bool(self._bootstrap or self.restored))
        if chores.join:
            self._look_up_self(now)
        for contact, target in chores.asks:
            self._send(contact, FindNode(target), now)
        if chores.expire:
            self.server.expire(now)

    def _look_up_self(self, now: float) -> None:
        self._upkeep.joining(now)
        operation = Join(self.node_id)
        want = (self.family, self.sibling.family) if self.sibling is not None else ()
        operation.request = FindNode(self.node_id, want)
        self.start(operation, now)

    def _adopt_secure_id(self, now: float) -> None:
        """The vote on our address changed: take an id that fits it (BEP 42), unless ours does already."""
        address = self.votes.address
        if address is None or is_secure(self.node_id, address):
            return
        self.change_id(secure_id(address, self._rng), now)

    def change_id(self, node_id: bytes, now: float) -> None:
        """Becomes `node_id`: the table is built anew around it and the neighbourhood looked up."""
        entries = sorted(self.table, key=lambda entry: entry.seen)
        self.table = RoutingTable(node_id, self.settings)
        for entry in entries:
            self.table.answered(entry.contact, entry.seen)
        self.server.items.own_id = node_id
        self._upkeep.id_changed(now)
        self._share_tables()
        if self.sibling is not None:
            self.sibling._share_tables()
        self._look_up_self(now)
