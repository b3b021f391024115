"""Hostile datagrams: whatever comes in, only RemoteError comes out of the parser and nothing out of the
node.
"""

from __future__ import annotations

import random
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearrt.codec import bencode
from pearrt.dht.contact import Contact, Family
from pearrt.dht.items import ImmutableItem, MutableItem
from pearrt.dht.krpc import (
    MAX_DATAGRAM_BYTES,
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
    Ping,
    Put,
    Query,
    Response,
)
from pearrt.dht.node import DhtNode
from pearrt.errors import LimitExceeded, ProtocolViolation, RemoteError

ID = b"n" * 20
TARGET = b"t" * 20
SOURCE = ("84.1.2.3", 6881)
ITEM = MutableItem(b"k" * 32, b"salt", 7, b"5:value", b"s" * 64)
CONTACTS = [Contact(bytes([i]) * 20, (f"84.1.{i}.1", 6881)) for i in range(8)]
SAMPLES = [
    *(
        encode_query(Query(b"tran", ID, request))
        for request in (
            Ping(),
            FindNode(TARGET, (Family.V4, Family.V6)),
            GetPeers(TARGET),
            AnnouncePeer(TARGET, 6881, b"token"),
            Get(TARGET, seq=3),
            Put(ITEM, b"token", cas=6),
            Put(ImmutableItem(b"d1:ali1ei2eee"), b"token"),
        )
    ),
    encode_response(Response(b"tran", ID, CONTACTS, (), b"token", [SOURCE], None, None, SOURCE)),
    encode_response(Response(b"tran", ID, CONTACTS, (), b"token", None, ITEM, None, SOURCE)),
    encode_error(ErrorReply(b"tran", 203, "no")),
]


def node() -> DhtNode:
    return DhtNode(Family.V4, rng=random.Random(1))


def feed(data: bytes) -> list[tuple[bytes, tuple[str, int]]]:
    """What a node sends when it receives `data`."""
    each = node()
    each.receive(data, SOURCE, 1.0)
    return each.take_datagrams()


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_truncation_raises_only_remote_errors(sample: bytes) -> None:
    for length in range(len(sample)):
        with pytest.raises(RemoteError):
            parse(sample[:length])
        feed(sample[:length])


@given(st.sampled_from(SAMPLES), st.data())
def test_flipped_bytes_raise_only_remote_errors(sample: bytes, data: st.DataObject) -> None:
    changed = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(RemoteError):
        parse(bytes(changed))
    feed(bytes(changed))


@given(st.binary(max_size=300))
def test_random_bytes_raise_only_remote_errors(data: bytes) -> None:
    with pytest.raises(RemoteError):
        parse(data)
    assert feed(data) == []


VALUES = st.recursive(
    st.one_of(st.integers(-(2**70), 2**70), st.binary(max_size=40)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from([b"id", b"target", b"nodes", b"values", b"v", b"k", b"seq", b"sig", b"token"]),
            inner,
        ),
    ),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries(
        {b"y": st.sampled_from([b"q", b"r", b"e"]), b"t": st.binary(max_size=40)},
        optional={
            b"q": st.sampled_from(
                [b"ping", b"find_node", b"get_peers", b"announce_peer", b"get", b"put", b"?"]
            ),
            b"a": VALUES,
            b"r": VALUES,
            b"e": VALUES,
            b"ip": VALUES,
            b"ro": VALUES,
        },
    )
)
def test_well_formed_bencode_with_wrong_contents_raises_only_remote_errors(
    fields: dict[bytes, object],
) -> None:
    data = bencode.encode(fields)
    with suppress(RemoteError):
        parse(data)
    feed(data)


def test_an_oversized_datagram_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(LimitExceeded):
        parse(b"d1:v%d:" % MAX_DATAGRAM_BYTES + b"x" * MAX_DATAGRAM_BYTES + b"e")
    assert feed(b"d" * 65507) == []


@pytest.mark.parametrize("data", [b"l" * 2000, b"d1:a" * 500, b"d1:y" + b"l" * 1000 + b"e" * 1001])
def test_deep_bencode_is_refused_without_recursion(data: bytes) -> None:
    with pytest.raises(RemoteError):
        parse(data)
    assert feed(data) == []


def test_a_value_nested_as_deep_as_a_datagram_allows_is_refused() -> None:
    data = b"d1:ad2:id20:" + ID + b"5:token1:t1:v" + b"l" * 900 + b"e" * 900 + b"e1:q3:put1:t2:aa1:y1:qe"
    with pytest.raises(LimitExceeded):
        parse(data)


@pytest.mark.parametrize(
    "data",
    [
        b"d1:t2:aa1:y001:qe",
        b"d1:t02:aa1:y1:qe",
        b"d1:t-2:aa1:y1:qe",
        b"d1:t2:aa1:y-1:qe",
        b"d-1:t2:aae",
        b"d1:t2:aa1:x99999999999999999999:e",
        b"d1:t2:aa1:xi00e1:y1:qe",
        b"d1:t2:aa1:xi-0e1:y1:qe",
        b"d1:t2:aa1:xi99999999999999999999999999e1:y1:qe",
        b"d1:t2:aa1:t2:bb1:y1:qe",
        b"d1:t2:aa1:y1:qe" + b"trailing",
    ],
)
def test_leading_zeros_negative_lengths_and_ambiguous_texts_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse(data)
    assert feed(data) == []


@pytest.mark.parametrize("size", [0, 33, 1000])
def test_an_overlong_or_empty_transaction_id_is_not_echoed(size: int) -> None:
    assert feed(encode_query(Query(b"x" * size, ID, Ping()))) == []


def test_a_query_with_bad_arguments_gets_an_error_and_an_unknown_method_too() -> None:
    for method, code in ((b"get_peers", 203), (b"sample_infohashes", 204)):
        data = bencode.encode({b"y": b"q", b"t": b"aa", b"q": method, b"a": {b"id": ID}})
        (reply,) = feed(data)
        error = parse(reply[0])
        assert isinstance(error, ErrorReply)
        assert (error.code, error.transaction) == (code, b"aa")


def test_two_thousand_hostile_datagrams_cost_little_time() -> None:
    """Bounded work per datagram: even the worst texts of full size take well under a millisecond each."""
    worst = [
        b"l" * 2048,
        b"d" + b"".join(b"2:%02x0:" % i for i in range(256)) + b"e",
        b"l" + b"0:" * 1000 + b"e",
    ]
    each = node()
    begin = time.process_time()
    for i in range(2000):
        each.receive(worst[i % len(worst)], (f"84.2.{i % 200}.1", 6881), i / 100)
    assert time.process_time() - begin < 5
