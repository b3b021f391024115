"""KRPC (BEP 5): the messages of the DHT, one bencoded dict per datagram.

    query     {"y":"q", "t":transaction, "q":method, "a":{"id":sender, ...}, "ro":1?}
    response  {"y":"r", "t":transaction, "r":{"id":sender, ...}, "ip":address the query came from}
    error     {"y":"e", "t":transaction, "e":[code, text]}

`parse` turns a datagram into a Query, Response or ErrorReply with every length checked, or raises
RemoteError; nothing past this module sees a dict. A query that is well formed but has bad arguments raises
BadArguments, which the node answers with an error 203. Unknown keys are ignored, as the BEPs ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pearrt.codec import bencode
from pearrt.dht.contact import (
    ID_BYTES,
    Address,
    Contact,
    Family,
    pack_address,
    pack_contacts,
    unpack_address,
    unpack_contacts,
)
from pearrt.dht.items import (
    KEY_BYTES,
    SIGNATURE_BYTES,
    ImmutableItem,
    Item,
    MutableItem,
    check_bounds,
)
from pearrt.dht.messages import (
    AnnouncePeer,
    ErrorReply,
    FindNode,
    Get,
    GetPeers,
    Message,
    Ping,
    Put,
    Query,
    Request,
    Response,
)
from pearrt.errors import LimitExceeded, ProtocolViolation

MAX_DATAGRAM_BYTES = 2048
MAX_TRANSACTION_BYTES = 32
MAX_TOKEN_BYTES = 64
MAX_CONTACTS = 64
MAX_PEERS = 256
MAX_ITEMS = 1500
MAX_ERROR_TEXT = 200

PROTOCOL_ERROR = 203
UNKNOWN_METHOD = 204
VALUE_TOO_BIG = 205
SALT_TOO_BIG = 207


class BadArguments(ProtocolViolation):
    """A query whose envelope is sound and whose arguments are not: to be answered with `code`."""

    def __init__(self, transaction: bytes, code: int, text: str) -> None:
        super().__init__(f"krpc: {text}")
        self.transaction = transaction
        self.error_code = code
        self.text = text


def encode_query(query: Query) -> bytes:
    """The datagram of a query."""
    method, arguments = _arguments(query.request)
    arguments[b"id"] = query.sender
    fields: dict[bytes, Any] = {b"a": arguments, b"q": method, b"t": query.transaction, b"y": b"q"}
    if query.read_only:
        fields[b"ro"] = 1
    return bencode.encode(fields)


def _arguments(request: Request) -> tuple[bytes, dict[bytes, Any]]:
    match request:
        case GetPeers():
            return b"get_peers", _with_want({b"info_hash": request.target}, request.want)
        case FindNode():
            return b"find_node", _with_want({b"target": request.target}, request.want)
        case Ping():
            return b"ping", {}
        case AnnouncePeer():
            return b"announce_peer", {
                b"info_hash": request.target,
                b"port": request.port,
                b"token": request.token,
                b"implied_port": int(request.implied_port),
            }
        case Get():
            arguments: dict[bytes, Any] = {b"target": request.target}
            if request.seq is not None:
                arguments[b"seq"] = request.seq
            return b"get", _with_want(arguments, request.want)
        case Put():
            arguments = _item_fields(request.item) | {b"token": request.token}
            if isinstance(request.item, MutableItem) and request.item.salt:
                arguments[b"salt"] = request.item.salt
            if request.cas is not None:
                arguments[b"cas"] = request.cas
            return b"put", arguments


def _with_want(arguments: dict[bytes, Any], want: tuple[Family, ...]) -> dict[bytes, Any]:
    if want:
        arguments[b"want"] = [family.want for family in want]
    return arguments


def _item_fields(item: Item) -> dict[bytes, Any]:
    fields: dict[bytes, Any] = {b"v": bencode.decode(item.encoded, strict=False)}
    if isinstance(item, MutableItem):
        fields |= {b"k": item.public_key, b"seq": item.seq, b"sig": item.signature}
    return fields


def encode_response(response: Response) -> bytes:
    """The datagram of a response."""
    values: dict[bytes, Any] = {b"id": response.sender}
    if response.contacts:
        values[b"nodes"] = pack_contacts(response.contacts)
    if response.contacts6:
        values[b"nodes6"] = pack_contacts(response.contacts6)
    if response.token:
        values[b"token"] = response.token
    if response.peers:
        values[b"values"] = [pack_address(peer) for peer in response.peers]
    if response.item is not None:
        values |= _item_fields(response.item)
    elif response.seq is not None:
        values[b"seq"] = response.seq
    fields: dict[bytes, Any] = {b"r": values, b"t": response.transaction, b"y": b"r"}
    if response.observed is not None:
        fields[b"ip"] = pack_address(response.observed)
    return bencode.encode(fields)


def encode_error(error: ErrorReply) -> bytes:
    """The datagram of an error."""
    return bencode.encode(
        {b"e": [error.code, error.text[:MAX_ERROR_TEXT]], b"t": error.transaction, b"y": b"e"}
    )


def parse(data: bytes) -> Message:
    """The message in one datagram. Raises RemoteError (BadArguments where an error reply is due)."""
    if len(data) > MAX_DATAGRAM_BYTES:
        raise LimitExceeded(f"krpc: datagram of {len(data)} bytes")
    fields = bencode.decode(data, max_items=MAX_ITEMS, strict=False)
    if not isinstance(fields, dict):
        raise ProtocolViolation("krpc: a datagram that is no dict")
    transaction = fields.get(b"t")
    if not isinstance(transaction, bytes) or not 0 < len(transaction) <= MAX_TRANSACTION_BYTES:
        raise ProtocolViolation("krpc: missing or overlong transaction id")
    kind = fields.get(b"y")
    if kind == b"r":
        return _parse_response(fields, transaction)
    if kind == b"q":
        return _parse_query(fields, transaction)
    if kind == b"e":
        return _parse_error(fields, transaction)
    raise ProtocolViolation("krpc: unknown message type")


def _parse_error(fields: dict[bytes, Any], transaction: bytes) -> ErrorReply:
    match fields.get(b"e"):
        case [int(code), bytes(text), *_]:
            return ErrorReply(transaction, code, text[:MAX_ERROR_TEXT].decode("utf-8", "replace"))
        case _:
            raise ProtocolViolation("krpc: malformed error")


def _parse_query(fields: dict[bytes, Any], transaction: bytes) -> Query:
    method, arguments = fields.get(b"q"), fields.get(b"a")
    if not isinstance(method, bytes) or not isinstance(arguments, dict):
        raise BadArguments(transaction, PROTOCOL_ERROR, "no method or no arguments")
    reader = _Arguments(transaction, arguments)
    sender = reader.string(b"id", ID_BYTES)
    return Query(transaction, sender, _parse_request(method, reader), fields.get(b"ro") == 1)


class _Arguments:
    """Typed access to the arguments of one query; anything wrong is BadArguments."""

    __slots__ = ("fields", "transaction")

    def __init__(self, transaction: bytes, fields: dict[bytes, Any]) -> None:
        self.transaction = transaction
        self.fields = fields

    def bad(self, text: str, code: int = PROTOCOL_ERROR) -> BadArguments:
        return BadArguments(self.transaction, code, text)

    def string(self, name: bytes, size: int) -> bytes:
        """A byte string of exactly `size` bytes."""
        value = self.fields.get(name)
        if not isinstance(value, bytes) or len(value) != size:
            raise self.bad(f"{name.decode()} is not {size} bytes")
        return value

    def bounded(self, name: bytes, most: int, code: int = PROTOCOL_ERROR) -> bytes:
        """A byte string of up to `most` bytes; empty if absent."""
        value = self.fields.get(name, b"")
        if not isinstance(value, bytes) or len(value) > most:
            raise self.bad(f"{name.decode()} is not a string of at most {most} bytes", code)
        return value

    def number(self, name: bytes) -> int | None:
        value = self.fields.get(name)
        if value is not None and not isinstance(value, int):
            raise self.bad(f"{name.decode()} is no number")
        return value

    def want(self) -> tuple[Family, ...]:
        names = self.fields.get(b"want")
        if not isinstance(names, list):
            return ()
        return tuple(family for family in Family if family.want in names)


def _parse_request(method: bytes, reader: _Arguments) -> Request:
    match method:
        case b"get_peers":
            return GetPeers(reader.string(b"info_hash", ID_BYTES), reader.want())
        case b"find_node":
            return FindNode(reader.string(b"target", ID_BYTES), reader.want())
        case b"ping":
            return Ping()
        case b"get":
            return Get(reader.string(b"target", ID_BYTES), reader.number(b"seq"), reader.want())
        case b"announce_peer":
            implied = reader.number(b"implied_port") == 1
            port = reader.number(b"port") or 0
            if not implied and not 0 < port < 65536:
                raise reader.bad("port out of range")
            token = reader.bounded(b"token", MAX_TOKEN_BYTES)
            return AnnouncePeer(reader.string(b"info_hash", ID_BYTES), port, token, implied)
        case b"put":
            return Put(
                _parse_put_item(reader), reader.bounded(b"token", MAX_TOKEN_BYTES), reader.number(b"cas")
            )
        case _:
            raise reader.bad("unknown method", UNKNOWN_METHOD)


def _parse_put_item(reader: _Arguments) -> Item:
    if b"v" not in reader.fields:
        raise reader.bad("no value")
    encoded = bencode.encode(reader.fields[b"v"])
    salt = reader.bounded(b"salt", 64, SALT_TOO_BIG)
    seq = reader.number(b"seq") or 0
    try:
        check_bounds(encoded, salt, seq)
    except LimitExceeded as e:
        raise reader.bad("message (v field) too big", VALUE_TOO_BIG) from e
    except ProtocolViolation as e:
        raise reader.bad(e.message) from e
    if b"k" not in reader.fields:
        return ImmutableItem(encoded)
    if b"seq" not in reader.fields:
        raise reader.bad("no seq")
    key, signature = reader.string(b"k", KEY_BYTES), reader.string(b"sig", SIGNATURE_BYTES)
    return MutableItem(key, salt, seq, encoded, signature)


def _parse_response(fields: dict[bytes, Any], transaction: bytes) -> Response:
    values = fields.get(b"r")
    if not isinstance(values, dict):
        raise ProtocolViolation("krpc: response without values")
    sender, token = values.get(b"id"), values.get(b"token", b"")
    if not isinstance(sender, bytes) or len(sender) != ID_BYTES:
        raise ProtocolViolation("krpc: response without a node id")
    if not isinstance(token, bytes) or len(token) > MAX_TOKEN_BYTES:
        raise ProtocolViolation("krpc: bad token")
    seq = values.get(b"seq")
    return Response(
        transaction,
        sender,
        _contacts(values, Family.V4),
        _contacts(values, Family.V6),
        token,
        _peers(values.get(b"values")),
        _response_item(values),
        seq if isinstance(seq, int) else None,
        _observed(fields.get(b"ip")),
    )


def _contacts(values: dict[bytes, Any], family: Family) -> Sequence[Contact]:
    data = values.get(family.nodes_key)
    if not data:
        return ()
    if not isinstance(data, bytes):
        raise ProtocolViolation("krpc: nodes that are no string")
    if len(data) > MAX_CONTACTS * family.contact_bytes:
        raise LimitExceeded("krpc: too many nodes")
    try:
        return unpack_contacts(data, family)
    except ValueError as e:
        raise ProtocolViolation(f"krpc: {e}") from e


def _peers(values: Any) -> Sequence[Address] | None:
    if values is None:
        return None
    if not isinstance(values, list):
        raise ProtocolViolation("krpc: values that are no list")
    if len(values) > MAX_PEERS:
        raise LimitExceeded("krpc: too many peers")
    return [unpack_address(value) for value in values if isinstance(value, bytes) and len(value) in (6, 18)]


def _observed(data: Any) -> Address | None:
    if isinstance(data, bytes) and len(data) in (6, 18):
        return unpack_address(data)
    return None


def _response_item(values: dict[bytes, Any]) -> Item | None:
    """The item of a get response, its salt still unknown; the one who asked knows it and checks the
    signature."""
    if b"v" not in values:
        return None
    encoded = bencode.encode(values[b"v"])
    key, signature, seq = values.get(b"k"), values.get(b"sig"), values.get(b"seq", 0)
    if not isinstance(seq, int):
        raise ProtocolViolation("krpc: seq is no number")
    check_bounds(encoded, b"", seq)
    if key is None:
        return ImmutableItem(encoded)
    if not (isinstance(key, bytes) and len(key) == KEY_BYTES):
        raise ProtocolViolation("krpc: k is no key")
    if not (isinstance(signature, bytes) and len(signature) == SIGNATURE_BYTES):
        raise ProtocolViolation("krpc: sig is no signature")
    return MutableItem(key, b"", seq, encoded, signature)
