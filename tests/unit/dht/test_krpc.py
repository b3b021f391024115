from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pearrt.dht.contact import Contact, Family
from pearrt.dht.items import ImmutableItem, MutableItem
from pearrt.dht.krpc import (
    BadArguments,
    encode_error,
    encode_query,
    encode_response,
    parse,
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
    Response,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "dht" / "messages.json"
DOCUMENT = Path(__file__).parents[3] / "docs" / "protocol" / "dht.md"
ID = b"abcdefghij0123456789"
TARGET = b"mnopqrstuvwxyz123456"
CONTACTS = [Contact(TARGET, ("8.1.2.3", 6881)), Contact(ID, ("8.1.2.4", 1))]
CONTACTS6 = [Contact(TARGET, ("2a01:4f8::1", 6881))]
ITEM = MutableItem(b"k" * 32, b"salt", 4, b"d1:ai1e1:bli2eee", b"s" * 64)


def encode(message: Message) -> bytes:
    if isinstance(message, Query):
        return encode_query(message)
    return encode_response(message) if isinstance(message, Response) else encode_error(message)


# BEP 5, "KRPC Protocol" and "DHT Queries": the examples as printed there.
BEP5 = [
    (b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe", Query(b"aa", ID, Ping())),
    (
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
        Query(b"aa", ID, FindNode(TARGET)),
    ),
    (
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe",
        Query(b"aa", ID, GetPeers(TARGET)),
    ),
    (
        b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e"
        b"5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
        Query(b"aa", ID, AnnouncePeer(TARGET, 6881, b"aoeusnth", implied_port=True)),
    ),
    (b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re", Response(b"aa", TARGET)),
    (
        b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee",
        ErrorReply(b"aa", 201, "A Generic Error Ocurred"),
    ),
]


@pytest.mark.parametrize(("data", "message"), BEP5)
def test_the_examples_of_bep_5_in_both_directions(data: bytes, message: Message) -> None:
    assert parse(data) == message
    assert encode(message) == data


@pytest.mark.parametrize("name", json.loads(VECTORS.read_text()))
def test_the_vectors_of_the_protocol_document_round_trip(name: str) -> None:
    data = bytes.fromhex(json.loads(VECTORS.read_text())[name])
    assert encode(parse(data)) == data


def test_the_exchange_in_the_protocol_document_is_that_of_the_vectors() -> None:
    block = DOCUMENT.read_text().split("### An exchange")[1].split("```")[1]
    query, response = block.strip().split("\n\n")
    vectors = json.loads(VECTORS.read_text())
    for name, text in (
        ("get_peers query, read-only, both families", query),
        ("get_peers response", response),
    ):
        assert "".join(re.findall(r"(?<= )[0-9a-f]{6,}(?= )", text)) == vectors[name]


@pytest.mark.parametrize(
    "request_",
    [
        FindNode(TARGET, (Family.V4, Family.V6)),
        GetPeers(TARGET, (Family.V6,)),
        Get(TARGET),
        Get(TARGET, seq=0),
        Put(ITEM, b"token", cas=3),
        Put(ImmutableItem(b"le"), b"token"),
    ],
)
def test_queries_round_trip(request_: FindNode) -> None:
    query = Query(b"tran", ID, request_, read_only=True)
    assert parse(encode_query(query)) == query


def test_responses_round_trip_with_everything_in_them() -> None:
    response = Response(
        b"tran",
        ID,
        CONTACTS,
        CONTACTS6,
        b"token",
        [("8.1.1.1", 80), ("2a01::1", 81)],
        None,
        7,
        ("2a01:4f8::2", 9),
    )
    assert parse(encode_response(response)) == response


def test_the_salt_does_not_travel_in_get_responses() -> None:
    parsed = parse(encode_response(Response(b"tran", ID, item=ITEM)))
    assert isinstance(parsed, Response)
    assert parsed.item == MutableItem(ITEM.public_key, b"", ITEM.seq, ITEM.encoded, ITEM.signature)


def test_unknown_keys_are_ignored_and_dict_keys_may_come_unsorted() -> None:
    data = b"d1:y1:q1:t2:aa1:v4:LT\x01\x021:q4:ping1:ad3:zzzi1e2:id20:abcdefghij0123456789ee"
    assert parse(data) == Query(b"aa", ID, Ping())


def test_bad_arguments_carry_the_code_that_the_answer_needs() -> None:
    with pytest.raises(BadArguments) as caught:
        parse(b"d1:ad2:id20:abcdefghij01234567896:target3:abce1:q9:find_node1:t2:aa1:y1:qe")
    assert (caught.value.error_code, caught.value.transaction) == (203, b"aa")


def test_our_messages_fit_one_unfragmented_datagram() -> None:
    """The largest replies: eight contacts with a full item, and eight with as many peers as fit."""
    contacts = [Contact(bytes([i]) * 20, ("8.1.2.3", 6881)) for i in range(8)]
    item = MutableItem(b"k" * 32, b"", 2**62, b"996:" + b"v" * 996, b"s" * 64)
    full = Response(b"tran", ID, contacts, (), b"tokentok", None, item, None, ("8.1.1.1", 1))
    peers = Response(
        b"tran", ID, contacts, (), b"tokentok", [("8.1.1.1", 80)] * 88, None, None, ("8.1.1.1", 1)
    )
    assert max(len(encode_response(full)), len(encode_response(peers))) <= 1472
