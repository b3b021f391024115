"""What an attacker may do to one peer connection, below the network: only RemoteErrors, and bounded."""

from __future__ import annotations

import os
import tracemalloc
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pearrt.crypto import ed25519, noise
from pearrt.errors import LimitExceeded, ProtocolViolation, RemoteError
from pearrt.peer import handshake
from pearrt.peer.connection import State
from pearrt.peer.framing import MAX_PLAINTEXT_BYTES
from pearrt.peer.handshake import Handshake, Identity, SelfConnection
from pearrt.peer.messages import MESSAGE_CLASSES, Block, Leave, Metadata, Request
from tests.support.peers import HAS_AES, Lines, needs_aes

AES, CHACHA = 1, 2
OFFER = handshake.PREAMBLE + bytes([AES if HAS_AES else CHACHA])


def opened() -> Lines:
    lines = Lines()
    lines.exchange()
    return lines


def record(lines: Lines, plaintext: bytes) -> bytes:
    """A record of the initiator's making, whatever it holds."""
    session = lines.sides[0].session
    assert session is not None
    sealed = session.send.encrypt(plaintext)
    return len(sealed).to_bytes(2) + sealed


def refuses(lines: Lines, data: bytes, error: type[RemoteError] = RemoteError) -> None:
    with pytest.raises(error):
        lines.push(1, data)
    assert lines.sides[1].state is State.CLOSED


# -- before there is a session


@given(st.binary(max_size=600))
def test_random_bytes_instead_of_a_handshake(data: bytes) -> None:
    lines = Lines()
    try:
        lines.push(1, data)
    except RemoteError:
        assert lines.sides[1].state is State.CLOSED
    assert lines.sides[1].state is not State.OPEN


@settings(max_examples=60)
@given(st.integers(0, 2), st.integers(0, 400), st.integers(1, 255))
def test_a_flipped_byte_anywhere_in_the_handshake_breaks_it(flight: int, at: int, flip: int) -> None:
    lines = Lines()
    count = 0

    def mangle(side: int, data: bytes) -> bytes:
        nonlocal count
        count += 1
        if count - 1 != flight:
            return data
        position = at % len(data)
        return data[:position] + bytes([data[position] ^ flip]) + data[position + 1 :]

    lines.mangle = mangle
    with suppress(RemoteError):  # or it waits for more, where a length grew, until the time is up
        lines.exchange()
    assert not lines.events[1]


@settings(max_examples=30)
@given(st.integers(0, 300))
def test_a_truncated_handshake_never_opens(length: int) -> None:
    lines = Lines()
    lines.push(1, lines.pull(0)[:length])
    lines.pull(1)
    assert lines.sides[1].state is State.HANDSHAKE
    assert not lines.events[1]


def test_a_handshake_message_that_claims_64_kib_is_refused_before_it_comes() -> None:
    lines = Lines()
    refuses(lines, OFFER + b"\xff\xff", LimitExceeded)


def test_frames_before_the_handshake() -> None:
    for header in (b"\xff\xff\xff\xff", (Leave.TYPE << 24 | 4).to_bytes(4), b"\x00\x20"):
        refuses(Lines(), header + bytes(64), ProtocolViolation)


def test_another_protocol_version_is_refused() -> None:
    refuses(Lines(), b"\x13pearrt\x02" + bytes(64), ProtocolViolation)


@pytest.mark.parametrize("suite", [0, 3, 4, 5, 255])
def test_unknown_suites_are_refused(suite: int) -> None:
    refuses(Lines(), handshake.PREAMBLE + bytes([suite]) + b"\x00\x20" + b"e" * 32, ProtocolViolation)


def test_low_order_ephemeral_keys_are_refused() -> None:
    for key in (bytes(32), b"\1" + bytes(31)):
        refuses(Lines(), OFFER + b"\x00\x20" + key, ProtocolViolation)


def recorded(lines: Lines, recorded_side: int) -> list[bytes]:
    """A list that fills with what this side sends."""
    flights: list[bytes] = []

    def record_flight(side: int, data: bytes) -> bytes:
        if side == recorded_side:
            flights.append(data)
        return data

    lines.mangle = record_flight
    return flights


def test_replayed_initiator_does_not_get_in() -> None:
    """Recorded flights of an earlier handshake fail against fresh ephemeral keys."""
    lines = Lines()
    flights = recorded(lines, 0)
    lines.exchange()
    assert lines.sides[1].state is State.OPEN
    again = Lines()
    again.push(1, flights[0])
    again.pull(1)
    refuses(again, flights[1], ProtocolViolation)
    assert not again.events[1]


def test_replayed_responder_does_not_get_in() -> None:
    lines = Lines()
    flights = recorded(lines, 1)
    lines.exchange()
    again = Lines()
    again.pull(0)
    with pytest.raises(ProtocolViolation):
        again.push(0, flights[0])


def test_reflected_flights_are_refused() -> None:
    """A mirror sends the initiator's own bytes back."""
    lines = Lines()
    with pytest.raises(ProtocolViolation):
        lines.push(0, lines.pull(0))
    assert lines.sides[0].state is State.CLOSED


def test_reflected_static_key_is_refused() -> None:
    """An attacker who claims our own Noise key, or our own id, is refused before its proof is looked at."""
    ours = Identity.create(b"a" * 32, os.urandom(32))
    for theirs in (
        Identity(b"z" * 32, ours.static, ours.proof),
        Identity(ours.peer_id, fresh_pair(), ours.proof),
    ):
        initiator = Handshake(ours, initiator=True, random_bytes=os.urandom)
        responder = Handshake(theirs, initiator=False, random_bytes=os.urandom)
        answer = responder.receive(initiator.start())
        with pytest.raises(SelfConnection):
            initiator.receive(answer)


def fresh_pair() -> noise.KeyPair:
    return noise.KeyPair.from_private(os.urandom(32))


def forged_identities() -> list[Identity]:
    victim, own = b"v" * 32, fresh_pair()
    good = Identity.create(victim, os.urandom(32))
    own_seed = b"m" * 32
    return [
        Identity(good.peer_id, own, good.proof),  # the victim's signature of another key
        Identity(good.peer_id, own, Identity.create(own_seed, own.private).proof),  # signed by ourselves
        Identity(good.peer_id, own, ed25519.sign(own_seed, own.public)),  # without the tag
        Identity(bytes(32), own, bytes(64)),  # a small-order id
        Identity(good.peer_id, own, b""),
        Identity(good.peer_id, own, good.proof + b"x"),
    ]


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("attacker_dials", [True, False])
def test_nobody_gets_in_under_an_id_that_has_not_signed_its_key(number: int, attacker_dials: bool) -> None:
    attacker = Handshake(forged_identities()[number], initiator=attacker_dials, random_bytes=os.urandom)
    victim = Handshake(
        Identity.create(b"a" * 32, os.urandom(32)), initiator=not attacker_dials, random_bytes=os.urandom
    )
    first, second = (attacker, victim) if attacker_dials else (victim, attacker)
    with pytest.raises(ProtocolViolation):  # noqa: PT012
        answer = second.receive(first.start())
        second.receive(first.receive(answer))
    assert victim.session is None


# -- downgrade


def swap(old: bytes, new: bytes, _side: int, data: bytes) -> bytes:
    return data.replace(old, new)


@needs_aes
def test_downgrade_of_the_offer_is_detected() -> None:
    """A man in the middle turns the initiator's AES offer into ChaCha and both would agree to it."""
    for aes in ((True, True), (True, False)):
        lines = Lines(aes=aes)
        offer = handshake.PREAMBLE + bytes([AES])
        weaker = handshake.PREAMBLE + bytes([CHACHA])
        lines.mangle = partial(swap, offer, weaker)
        with pytest.raises(ProtocolViolation):
            lines.exchange()
        assert not lines.events[1]


@needs_aes
def test_a_forged_demand_for_the_weaker_suite_is_detected() -> None:
    """The man in the middle answers `demand ChaCha` himself and relays the second attempt only."""
    initiator = Handshake(
        Identity.create(b"a" * 32, os.urandom(32)), initiator=True, random_bytes=os.urandom, aes=True
    )
    responder = Handshake(
        Identity.create(b"b" * 32, os.urandom(32)), initiator=False, random_bytes=os.urandom, aes=True
    )
    initiator.start()
    second_attempt = initiator.receive(bytes([CHACHA]))
    assert second_attempt.startswith(handshake.PREAMBLE + bytes([CHACHA]))
    answer = responder.receive(second_attempt)
    with pytest.raises(ProtocolViolation):
        initiator.receive(answer)


@needs_aes
@pytest.mark.parametrize("demand", [AES, 3, 4, 9, handshake.PREAMBLE[0]])
def test_a_senseless_demand_is_refused(demand: int) -> None:
    initiator = Handshake(
        Identity.create(b"a" * 32, os.urandom(32)), initiator=True, random_bytes=os.urandom, aes=True
    )
    initiator.start()
    with pytest.raises(ProtocolViolation):
        initiator.receive(bytes([demand]))


@needs_aes
def test_a_demand_is_met_once_only() -> None:
    initiator = Handshake(
        Identity.create(b"a" * 32, os.urandom(32)), initiator=True, random_bytes=os.urandom, aes=True
    )
    initiator.start()
    initiator.receive(bytes([CHACHA]))
    with pytest.raises(ProtocolViolation):
        initiator.receive(bytes([AES]))


def test_an_initiator_without_aes_is_not_talked_into_it() -> None:
    initiator = Handshake(
        Identity.create(b"a" * 32, os.urandom(32)), initiator=True, random_bytes=os.urandom, aes=False
    )
    initiator.start()
    with pytest.raises(ProtocolViolation):
        initiator.receive(bytes([AES]))


# -- after the handshake


def test_a_message_of_length_2_to_the_32_minus_1() -> None:
    lines = opened()
    refuses(lines, record(lines, b"\xff\xff\xff\xff"), ProtocolViolation)


@pytest.mark.parametrize("cls", MESSAGE_CLASSES, ids=lambda cls: cls.__name__)
def test_a_message_over_its_cap_is_refused_before_it_is_stored(cls: type[Block]) -> None:
    lines = opened()
    data = record(lines, (cls.TYPE << 24 | 0xFFFFFF).to_bytes(4))
    tracemalloc.start()
    try:
        refuses(lines, data, LimitExceeded)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_records_without_content_are_refused() -> None:
    for length in range(17):
        lines = opened()
        refuses(lines, length.to_bytes(2), ProtocolViolation)
    lines = opened()
    refuses(lines, record(lines, b""), ProtocolViolation)


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_flipped_byte_in_a_record_is_noticed(at: int, flip: int) -> None:
    lines = opened()
    lines.sides[0].send(Metadata(1, b"x" * 3000))
    data = lines.pull(0)
    at %= len(data)
    mangled = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
    before = len(lines.events[1])
    try:
        lines.push(1, mangled)
    except RemoteError:
        assert lines.sides[1].state is State.CLOSED
    assert len(lines.events[1]) == before  # a longer length waits for bytes that never come


def test_a_repeated_swapped_or_dropped_record_is_noticed() -> None:
    def three(lines: Lines) -> list[bytes]:
        return [record(lines, bytes.fromhex(f"03000004 0000000{n}")) for n in (1, 2, 3)]

    for order in ((0, 0), (1, 0), (0, 2)):
        lines = opened()
        records = three(lines)
        refuses(lines, b"".join(records[n] for n in order), ProtocolViolation)


@settings(max_examples=100)
@given(st.lists(st.binary(min_size=1, max_size=400), min_size=1, max_size=4))
def test_random_plaintext_gives_messages_or_remote_errors(pieces: list[bytes]) -> None:
    lines = opened()
    try:
        for piece in pieces:
            lines.push(1, record(lines, piece))
    except RemoteError:
        assert lines.sides[1].state is State.CLOSED


@settings(max_examples=100)
@given(st.sampled_from(MESSAGE_CLASSES), st.binary(max_size=200))
def test_random_bodies_give_messages_or_remote_errors(cls: type[Block], body: bytes) -> None:
    lines = opened()
    try:
        lines.push(1, record(lines, (cls.TYPE << 24 | len(body)).to_bytes(4) + body))
    except RemoteError:
        assert lines.sides[1].state is State.CLOSED


def test_a_block_nobody_asked_for_is_bounded_and_told() -> None:
    """Whether it was asked for is judged by who asks; here it is one event of at most 256 KiB."""
    lines = opened()
    lines.sides[0].send(Block(b"u" * 32, b"x" * 1000))
    lines.exchange()
    assert lines.events[1][-1] == Block(b"u" * 32, b"x" * 1000)


def test_a_promised_block_that_never_comes_costs_one_body_at_most() -> None:
    lines = opened()
    header = (Block.TYPE << 24 | Block.MAX_BODY_BYTES).to_bytes(4)
    tracemalloc.start()
    try:
        lines.push(1, record(lines, header + b"i" * 32))
        assert tracemalloc.get_traced_memory()[1] < Block.MAX_BODY_BYTES + 100_000
    finally:
        tracemalloc.stop()


def test_a_request_flood_in_one_stream_is_cut_off() -> None:
    lines = opened()
    request = (Request.TYPE << 24 | 36).to_bytes(4) + bytes(4) + b"i" * 32
    stream = request * (MAX_PLAINTEXT_BYTES // len(request))
    flood = b"".join(record(lines, stream) for _ in range(30))
    with pytest.raises(LimitExceeded):
        lines.push(1, flood)
    assert lines.sides[1].state is State.CLOSED
    assert len(lines.events[1]) < 50_000


def test_nothing_is_handed_over_before_hello() -> None:
    lines = Lines()
    lines.push(1, lines.pull(0))
    lines.push(0, lines.pull(1))
    assert [side.state for side in lines.sides] == [State.HELLO, State.HANDSHAKE]
    assert lines.events == [[], []]
