"""One-shot mDNS: what is asked, what is read of an answer, and that no answer makes the reader go wrong."""

from __future__ import annotations

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearrt.errors import LimitExceeded, ProtocolViolation, RemoteError
from pearrt.lan.advertisement import SERVICE_TYPE
from pearrt.lan.dns_message import MAX_RECORDS, Instance, instances, question
from pearrt.lan.one_shot import ask
from pearrt.lan.service import LanService

TYPE_WIRE = b"\x07_pearrt\x04_tcp\x05local\x00"
NAME = f"abcd.{SERVICE_TYPE}"
NAME_WIRE = b"\x04abcd" + TYPE_WIRE


def record(owner: bytes, kind: int, data: bytes, dns_class: int = 1) -> bytes:
    return owner + struct.pack(">2HIH", kind, dns_class, 120, len(data)) + data


def response(*records: bytes, message_id: int = 7, flags: int = 0x8400) -> bytes:
    return struct.pack(">6H", message_id, flags, 0, len(records), 0, 0) + b"".join(records)


HOST_WIRE = b"\x04host\x05local\x00"
PTR = record(TYPE_WIRE, 12, NAME_WIRE)
SRV = record(NAME_WIRE, 33, struct.pack(">3H", 0, 0, 7677) + HOST_WIRE, 0x8001)
TXT = record(NAME_WIRE, 16, b"\x03v=1\x04flag\x03v=2")
A = record(HOST_WIRE, 1, bytes([192, 0, 2, 1]))
AAAA = record(HOST_WIRE, 28, bytes(15) + b"\x01")


@pytest.mark.alone  # all that speak mDNS on loopback hear each other
async def test_it_finds_what_the_lan_service_advertises() -> None:
    async with LanService(port=7777, mdns="loopback") as one, LanService(port=7778, mdns="loopback"):
        assert one.error is None
        found = await asyncio.to_thread(lambda: set(ask("loopback", timeout_s=0.5)))
    assert found == {("127.0.0.1", 7777), ("127.0.0.1", 7778)}


def test_off_asks_nobody() -> None:
    assert list(ask("off")) == []


def test_a_question_is_one_question() -> None:
    assert question(SERVICE_TYPE, 7) == struct.pack(">6H", 7, 0, 1, 0, 0, 0) + TYPE_WIRE + struct.pack(
        ">2H", 12, 1
    )


@pytest.mark.parametrize("message_id", [0, 7])
def test_an_answer_is_read(message_id: int) -> None:
    wanted = Instance(NAME, ("192.0.2.1", "::1"), 7677, {b"v": b"1", b"flag": None})
    assert instances(response(PTR, SRV, TXT, A, AAAA, message_id=message_id), SERVICE_TYPE, 7) == [wanted]


def test_names_are_decompressed_backwards_only() -> None:
    pointer = b"\xc0\x0c"  # the first owner, right behind the header
    short = response(PTR, record(b"\x04abcd" + pointer, 33, struct.pack(">3H", 0, 0, 1) + HOST_WIRE))
    assert [instance.port for instance in instances(short, SERVICE_TYPE, 7)] == [1]
    for loop in (b"\xc0\x0c", b"\xc0\xff", b"\x01a\xc0\x0c"):
        with pytest.raises(ProtocolViolation):
            instances(response(record(loop, 12, b"")), SERVICE_TYPE, 7)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        response(PTR, message_id=8),
        response(PTR, flags=0),
        response(PTR)[:-3],
        response(PTR[:-3]),
        response(record(TYPE_WIRE, 12, b"\x3f" + b"a" * 10)),
        response(record(TYPE_WIRE, 12, b"\x3f" + b"a" * 63 + b"\x3f" + b"a" * 63 + b"\x3f" * 200)),
        response(PTR, record(NAME_WIRE, 33, b"\0" * 5)),
        response(PTR, SRV, record(NAME_WIRE, 16, b"\x09short")),
    ],
)
def test_what_breaks_a_rule_is_refused(message: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        instances(message, SERVICE_TYPE, 7)


def test_too_much_is_refused_unread() -> None:
    with pytest.raises(LimitExceeded):
        instances(struct.pack(">6H", 7, 0x8400, MAX_RECORDS + 1, 0, 0, 0), SERVICE_TYPE, 7)
    with pytest.raises(LimitExceeded):
        instances(bytes(9001), SERVICE_TYPE, 7)


@given(st.binary(max_size=200), st.integers(0, 300), st.integers(0, 255))
def test_damage_gives_a_remote_error_or_an_answer(tail: bytes, at: int, value: int) -> None:
    good = bytearray(response(PTR, SRV, TXT, A))
    good[at % len(good)] = value
    for message in (bytes(good), struct.pack(">6H", 7, 0x8400, 1, 2, 0, 0) + tail):
        try:
            instances(message, SERVICE_TYPE, 7)
        except RemoteError:
            continue
