"""Messages: bytes, round trips, caps."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearrt.errors import LimitExceeded, ProtocolViolation, RemoteError
from pearrt.peer import messages as m

U32 = st.integers(0, 2**32 - 1)
ID = st.binary(min_size=32, max_size=32)
ORDINALS = st.lists(U32, max_size=m.MAX_ORDINALS).map(tuple)
SOME_ORDINALS = st.lists(U32, min_size=1, max_size=m.MAX_ORDINALS).map(tuple)
PORT = st.integers(1, 65535)
ADDRESS = st.tuples(
    st.one_of(
        st.integers(0, 2**32 - 1).map(lambda n: str(IPv4Address(n))),
        st.integers(0, 2**128 - 1).map(lambda n: str(IPv6Address(n))),
    ),
    PORT,
)
PRINTABLE = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=60)


def ids(most: int) -> st.SearchStrategy[tuple[bytes, ...]]:
    return st.lists(ID, min_size=1, max_size=most).map(tuple)


MESSAGES: st.SearchStrategy[m.Message] = st.one_of(
    st.builds(m.Hello, PRINTABLE, st.integers(0, 65535)),
    st.builds(m.Join, ids(m.MAX_PROOFS), st.integers(0, 255)),
    st.builds(m.Leave, U32),
    st.builds(m.Timestamp, U32, st.binary(max_size=m.MAX_TIMESTAMP_BYTES)),
    st.builds(m.GetMetadata, U32, U32),
    st.builds(m.Metadata, U32, st.binary(max_size=5000)),
    st.builds(m.HaveAll, U32, ID),
    st.builds(m.Bitfield, U32, ID, st.binary(min_size=1, max_size=5000)),
    st.builds(m.Have, U32, U32, SOME_ORDINALS),
    st.builds(m.Request, U32, ids(m.MAX_REQUEST_IDS)),
    st.builds(m.AnyBlocks, U32, U32, st.integers(1, 255)),
    st.builds(m.Promise, U32, U32, ORDINALS),
    st.builds(m.Block, ID, st.binary(min_size=1, max_size=5000)),
    st.builds(m.Cancel, U32, ids(m.MAX_CANCEL_IDS)),
    st.builds(m.Refuse, U32, st.integers(0, 255), ids(m.MAX_REQUEST_IDS)),
    st.builds(m.Peers, U32, st.lists(ADDRESS, max_size=m.MAX_ADDRESSES).map(tuple)),
    st.builds(m.Ping, st.binary(min_size=8, max_size=8)),
    st.builds(m.Pong, st.binary(min_size=8, max_size=8)),
    st.builds(m.Bye, st.integers(0, 255), PRINTABLE),
    st.builds(m.Proof, U32, st.binary(max_size=5000)),
    st.builds(m.AppMessage, U32, st.binary(max_size=m.MAX_APP_MESSAGE_BYTES)),
)


def decode(data: bytes) -> m.Message:
    type_, length = m.check_header(int.from_bytes(data[:4]))
    assert length == len(data) - 4
    return m.decode(type_, data[4:])


@given(MESSAGES)
def test_every_message_survives_encoding(message: m.Message) -> None:
    data = m.encode(message)
    assert decode(data) == message
    assert decode(bytes(memoryview(bytearray(data)))) == message


@given(st.sampled_from(m.MESSAGE_CLASSES), st.binary(max_size=300))
def test_any_body_gives_a_message_with_the_same_bytes_or_a_remote_error(
    cls: type[m.Message], body: bytes
) -> None:
    try:
        message = m.decode(cls.TYPE, body)
    except RemoteError:
        return
    if not isinstance(message, m.Hello | m.Bye):  # these replace what cannot be shown
        assert message.body() == body


EXAMPLES = [
    (
        m.Hello("pearrt/0.1", 4711),
        "01000028 64353a6167656e7431303a7065617272742f302e31343a706f7274693437313165313a7669316565",
    ),
    (m.Leave(0x01020304), "03000004 01020304"),
    (m.GetMetadata(1, 2), "05000008 00000001 00000002"),
    (m.Have(1, 2, (3, 4)), "09000010 00000001 00000002 00000003 00000004"),
    (m.AnyBlocks(1, 2, 3), "0b000009 00000001 00000002 03"),
    (m.Promise(1, 2, ()), "0c000008 00000001 00000002"),
    (m.Refuse(1, m.BUSY, (b"\xaa" * 32,)), "0f000025 00000001 02" + "aa" * 32),
    (m.Block(b"\xbb" * 32, b"xyz"), "0d000023" + "bb" * 32 + "78797a"),
    (m.Peers(1, (("192.0.2.1", 4711),)), "1000000e 00000001 6c 363a c0000201 1267 65"),
    (m.Ping(b"12345678"), "11000008 3132333435363738"),
    (m.Bye(m.BYE_SHUTDOWN, "so long"), "13000008 01 736f206c6f6e67"),
    (m.Proof(1, b"l1:a1:b0:e"), "1400000e 00000001 6c313a61313a62303a65"),
]


@pytest.mark.parametrize(("message", "expected"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_bytes_are_as_the_specification_shows(message: m.Message, expected: str) -> None:
    assert m.encode(message) == bytes.fromhex(expected)


@pytest.mark.parametrize("cls", m.MESSAGE_CLASSES, ids=lambda cls: cls.__name__)
def test_a_body_over_its_cap_is_refused_by_its_header(cls: type[m.Message]) -> None:
    assert m.check_header(cls.TYPE << 24 | cls.MAX_BODY_BYTES) == (cls.TYPE, cls.MAX_BODY_BYTES)
    with pytest.raises(LimitExceeded):
        m.check_header(cls.TYPE << 24 | cls.MAX_BODY_BYTES + 1)


@pytest.mark.parametrize("header", [0, 2**32 - 1, 0x00000001, 0x16000000, 0x80000000])
def test_unknown_types_are_violations(header: int) -> None:
    with pytest.raises(ProtocolViolation):
        m.check_header(header)


@pytest.mark.parametrize(
    "message",
    [
        m.Hello("x" * 65),
        m.Hello("x", 65536),
        m.Join(()),
        m.Join((b"short",)),
        m.Timestamp(1, bytes(m.MAX_TIMESTAMP_BYTES + 1)),
        m.Metadata(1, bytes(m.MAX_METADATA_BYTES + 1)),
        m.HaveAll(1, b"short"),
        m.Have(1, 2, ()),
        m.Have(1, 2, tuple(range(m.MAX_ORDINALS + 1))),
        m.Request(1, (b"i" * 32,) * (m.MAX_REQUEST_IDS + 1)),
        m.AnyBlocks(1, 2, 0),
        m.AnyBlocks(1, 2, 256),
        m.Block(b"i" * 32, bytes(m.MAX_BLOCK_BYTES + 1)),
        m.Peers(1, (("192.0.2.1", 1),) * (m.MAX_ADDRESSES + 1)),
        m.Peers(1, (("192.0.2.1", 0),)),
        m.Ping(b"short"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_we_never_send_what_a_peer_would_refuse(message: m.Message) -> None:
    with pytest.raises(ValueError):
        m.encode(message)


@pytest.mark.parametrize(
    ("type_", "body"),
    [
        (m.Peers.TYPE, b"\0\0\0\1l5:abcdee"),
        (m.Peers.TYPE, b"\0\0\0\1l6:abcd\0\0e"),
        (m.Peers.TYPE, b"\0\0\0\1li1ee"),
        (m.Peers.TYPE, b"\0\0\0\1d1:a1:be"),
        (m.Peers.TYPE, b"\0\0\0\1" + b"l" * 900),
        (m.Hello.TYPE, b"d5:agent1:x4:porti-1e1:vi1ee"),
        (m.Hello.TYPE, b"d5:agent1:x4:porti1e1:vi0ee"),
        (m.Hello.TYPE, b"d5:agenti1e4:porti1e1:vi1ee"),
        (m.Hello.TYPE, b"le"),
        (m.Block.TYPE, b"i" * 32),
        (m.Bitfield.TYPE, b"i" * 36),
        (m.Request.TYPE, b"\0\0\0\1"),
        (m.Ping.TYPE, b"1234567"),
        (m.Bye.TYPE, b""),
    ],
)
def test_malformed_bodies_are_remote_errors(type_: int, body: bytes) -> None:
    with pytest.raises(RemoteError):
        m.decode(type_, body)


def test_a_later_versions_hello_with_more_keys_is_understood() -> None:
    body = b"d5:agent1:x4:porti1e1:vi2e3:zzzi9ee"
    assert m.decode(m.Hello.TYPE, body) == m.Hello("x", 1, 2)


def test_text_of_a_peer_is_safe_to_show() -> None:
    bye = m.decode(m.Bye.TYPE, b"\x01\x1b[2Jhi\xff\n\xe2\x80\xae")
    assert isinstance(bye, m.Bye)
    assert bye.text == "\ufffd[2Jhi\ufffd\ufffd\ufffd"


def test_a_long_goodbye_is_cut_between_characters() -> None:
    bye = decode(m.encode(m.Bye(0, "ü" * 150)))
    assert bye == m.Bye(0, "ü" * 100)
