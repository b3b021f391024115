"""The serving half of a node: what it answers to each query, and what it stores for others.

A write needs a token that this node gave to that IP address for that target. A full store withholds nothing
and evicts instead; a value that breaks a rule gets the error BEP 44 names.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from pearrt.dht.contact import Address, Contact, Family
from pearrt.dht.items import ItemTable, MutableItem
from pearrt.dht.krpc import (
    PROTOCOL_ERROR,
)
from pearrt.dht.messages import (
    AnnouncePeer,
    ErrorReply,
    FindNode,
    Get,
    GetPeers,
    Ping,
    Put,
    Query,
    Response,
)
from pearrt.dht.peers import PeerTable
from pearrt.dht.routing import RoutingTable
from pearrt.dht.settings import DhtSettings
from pearrt.dht.tokens import Tokens

_BAD_TOKEN = "bad token"  # noqa: S105 - the text of an error, no secret


class Server:
    """Answers queries for one node. `tables` maps each family this host serves to its routing table (BEP
    32)."""

    def __init__(
        self, family: Family, tables: dict[Family, RoutingTable], settings: DhtSettings, rng: random.Random
    ) -> None:
        self._family = family
        self._settings = settings
        self._rng = rng
        self.tables = tables
        self._tokens = Tokens(rng.randbytes(32), settings.token_period_s)
        self.peers = PeerTable(
            max_topics=settings.max_topics,
            max_peers=settings.max_peers_per_topic,
            lifetime_s=settings.peer_lifetime_s,
        )
        self.items = ItemTable(
            tables[family].own_id, max_items=settings.max_items, lifetime_s=settings.item_lifetime_s
        )

    @property
    def own_id(self) -> bytes:
        """The id that goes into every answer."""
        return self.tables[self._family].own_id

    def answer(self, query: Query, source: Address, now: float) -> Response | ErrorReply:
        """The reply to a well-formed query from `source`."""
        match query.request:
            case GetPeers() as request:
                return self._get_peers(query, request, source, now)
            case FindNode() as request:
                return self._response(query, source, contacts=request)
            case Ping():
                return self._response(query, source)
            case Get() as request:
                return self._get(query, request, source, now)
            case AnnouncePeer() as request:
                return self._announce(query, request, source, now)
            case Put() as request:
                return self._put(query, request, source, now)

    def expire(self, now: float) -> None:
        """Drops what is past its lifetime."""
        self.peers.expire(now)
        self.items.expire(now)

    def _response(
        self,
        query: Query,
        source: Address,
        *,
        contacts: FindNode | GetPeers | Get | None = None,
        token: bytes = b"",
        peers: Sequence[Address] | None = None,
    ) -> Response:
        v4: Sequence[Contact] = ()
        v6: Sequence[Contact] = ()
        if contacts is not None:
            v4 = self._closest(Family.V4, contacts, query.sender)
            v6 = self._closest(Family.V6, contacts, query.sender)
        return Response(query.transaction, self.own_id, v4, v6, token, peers, observed=source)

    def _closest(self, family: Family, request: FindNode | GetPeers | Get, asker: bytes) -> Sequence[Contact]:
        wanted = family in request.want if request.want else family is self._family
        table = self.tables.get(family)
        if table is None or not wanted:
            return ()
        return table.closest(request.target, self._settings.reply_contacts)

    def _get_peers(self, query: Query, request: GetPeers, source: Address, now: float) -> Response:
        room = self._settings.max_value_replies_bytes // (self._family.address_bytes + 3)
        peers = self.peers.sample(request.target, room, now, self._rng)
        token = self._tokens.issue(source[0], request.target, now)
        return self._response(query, source, contacts=request, token=token, peers=peers)

    def _announce(
        self, query: Query, request: AnnouncePeer, source: Address, now: float
    ) -> Response | ErrorReply:
        if not self._tokens.accepts(request.token, source[0], request.target, now):
            return ErrorReply(query.transaction, PROTOCOL_ERROR, _BAD_TOKEN)
        port = source[1] if request.implied_port else request.port
        self.peers.add(request.target, (source[0], port), now)
        return self._response(query, source)

    def _get(self, query: Query, request: Get, source: Address, now: float) -> Response:
        item = self.items.get(request.target, now)
        seq = item.seq if isinstance(item, MutableItem) else None
        if seq is not None and request.seq is not None and seq <= request.seq:
            item = None
        token = self._tokens.issue(source[0], request.target, now)
        v4 = self._closest(Family.V4, request, query.sender)
        v6 = self._closest(Family.V6, request, query.sender)
        return Response(query.transaction, self.own_id, v4, v6, token, None, item, seq, source)

    def _put(self, query: Query, request: Put, source: Address, now: float) -> Response | ErrorReply:
        if not self._tokens.accepts(request.token, source[0], request.item.target, now):
            return ErrorReply(query.transaction, PROTOCOL_ERROR, _BAD_TOKEN)
        refusal = self.items.put(request.item, now, cas=request.cas)
        if refusal is not None:
            return ErrorReply(query.transaction, refusal.code, refusal.text)
        return self._response(query, source)
