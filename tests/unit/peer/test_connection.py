"""The pure connection: handshake, messages, life signs. No network, no clock."""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest

from pearrt.errors import LimitExceeded, PeerTimeout, ProtocolViolation
from pearrt.peer.connection import Opened, State
from pearrt.peer.handshake import SelfConnection
from pearrt.peer.limits import PeerLimits
from pearrt.peer.messages import (
    MAX_BLOCK_BYTES,
    AnyBlocks,
    Block,
    Bye,
    Cancel,
    Hello,
    Leave,
    Message,
    Metadata,
    Ping,
    Pong,
)
from tests.support.peers import Lines, needs_aes

PSK = b"k" * 32


def opened(lines: Lines) -> Lines:
    lines.exchange()
    assert all(side.state is State.OPEN for side in lines.sides)
    return lines


def received(lines: Lines, side: int) -> list[object]:
    return [event for event in lines.events[side] if not isinstance(event, Opened)]


def send(lines: Lines, side: int, *messages: Message) -> None:
    for message in messages:
        lines.sides[side].send(message)


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_both_sides_open_with_each_others_id_and_the_same_handshake_hash(step: int) -> None:
    lines = Lines()
    lines.exchange(step)
    first, second = (events[0] for events in lines.events)
    assert isinstance(first, Opened)
    assert isinstance(second, Opened)
    assert first.session.handshake_hash == second.session.handshake_hash
    assert first.session.peer_id != second.session.peer_id
    assert (first.session.initiator, second.session.initiator) == (True, False)
    assert first.hello == Hello("pure", 4000)
    assert second.hello == Hello("pure", 4001)


@needs_aes
@pytest.mark.parametrize("psk", [b"", PSK])
@pytest.mark.parametrize(
    ("aes", "cipher"),
    [
        ((True, True), "AESGCM"),
        ((True, False), "ChaCha"),
        ((False, True), "ChaCha"),
        ((False, False), "ChaCha"),
    ],
)
def test_suite_is_aes_only_where_both_have_it(aes: tuple[bool, bool], cipher: str, psk: bytes) -> None:
    lines = opened(Lines(aes=aes, psks=(psk, psk)))
    names = {events[0].session.protocol_name for events in lines.events if isinstance(events[0], Opened)}
    assert len(names) == 1
    name = names.pop()
    assert cipher in name
    assert ("psk3" in name) == bool(psk)
    send(lines, 0, Leave(1))
    lines.exchange()
    assert received(lines, 1) == [Leave(1)]


@pytest.mark.parametrize("psks", [(PSK, b""), (b"", PSK), (PSK, b"x" * 32)])
def test_a_private_networks_peer_and_a_stranger_do_not_connect(psks: tuple[bytes, bytes]) -> None:
    lines = Lines(psks=psks)
    with pytest.raises(ProtocolViolation):
        lines.exchange()


def test_a_peer_refuses_itself() -> None:
    lines = Lines(seeds=(b"a" * 32, b"a" * 32))
    with pytest.raises(SelfConnection):
        lines.exchange()


@pytest.mark.parametrize("step", [1000, 65537, 1 << 20])
@pytest.mark.parametrize("size", [1, 100, 65_483, 65_484, 65_519, 65_520, MAX_BLOCK_BYTES])
def test_blocks_arrive_whole_however_the_bytes_are_cut(size: int, step: int) -> None:
    lines = opened(Lines())
    block = Block(b"i" * 32, os.urandom(size))
    send(lines, 0, block, Leave(5), block)
    lines.exchange(step)
    assert received(lines, 1) == [Leave(5), block, block]


def test_a_received_block_is_the_receivers_own_memory() -> None:
    lines = opened(Lines())
    send(lines, 0, *(Block(bytes([n]) * 32, bytes([n]) * 200_000) for n in range(4)))
    lines.exchange()
    blocks = received(lines, 1)
    assert [bytes(block.data) for block in blocks if isinstance(block, Block)] == [
        bytes([n]) * 200_000 for n in range(4)
    ]


def test_small_messages_overtake_queued_blocks_and_keep_their_order() -> None:
    lines = opened(Lines())
    blocks = [Block(bytes([n]) * 32, b"x" * 1000) for n in range(3)]
    send(lines, 0, *blocks, Cancel(1, (b"c" * 32,)), AnyBlocks(1, 2, 3))
    lines.exchange()
    assert received(lines, 1) == [Cancel(1, (b"c" * 32,)), AnyBlocks(1, 2, 3), *blocks]


def test_a_block_that_has_not_left_can_be_taken_back() -> None:
    lines = opened(Lines())
    blocks = [Block(bytes([n]) * 32, b"x" * 10) for n in range(3)]
    send(lines, 0, *blocks)
    outbox = lines.sides[0].outbox
    assert outbox is not None
    assert outbox.drop_block(blocks[1].id)
    assert not outbox.drop_block(blocks[1].id)
    assert (outbox.blocks, outbox.block_bytes) == (2, 20)
    lines.exchange()
    assert received(lines, 1) == [blocks[0], blocks[2]]


def test_largest_metadata_message_arrives() -> None:
    lines = opened(Lines())
    message = Metadata(7, os.urandom(1 << 20))
    send(lines, 1, message)
    lines.exchange()
    assert received(lines, 0) == [message]


def test_round_trip_time_is_measured_when_the_connection_opens() -> None:
    lines = opened(Lines())
    assert [side.rtt_s for side in lines.sides] == [0.0, 0.0]


def test_bye_comes_after_other_small_messages_and_before_blocks_and_ends_it() -> None:
    lines = opened(Lines())
    send(lines, 0, Block(b"i" * 32, b"x" * 10), Leave(1))
    lines.sides[0].say_bye(0, "enough")
    lines.sides[0].say_bye(0, "twice")
    lines.exchange()
    assert received(lines, 1) == [Leave(1), Bye(0, "enough")]
    assert [side.state for side in lines.sides] == [State.CLOSED, State.CLOSED]


def test_nothing_more_is_sent_to_a_peer_that_said_bye() -> None:
    lines = opened(Lines())
    lines.sides[0].say_bye(0, "enough")
    send(lines, 1, Block(b"i" * 32, b"x" * 10), Leave(1))
    lines.push(1, lines.pull(0))
    send(lines, 1, Leave(2))
    assert lines.pull(1) == b""


def test_a_second_hello_is_a_violation() -> None:
    lines = opened(Lines())
    send(lines, 0, Hello("again"))
    with pytest.raises(ProtocolViolation):
        lines.exchange()


def test_a_message_before_hello_is_a_violation() -> None:
    lines = Lines()
    lines.push(1, lines.pull(0))
    lines.push(0, lines.pull(1))
    outbox = lines.sides[0].outbox
    assert outbox is not None
    outbox._control.clear()
    outbox.control_bytes = 0
    outbox.put(Leave(1))
    with pytest.raises(ProtocolViolation, match="HELLO"):
        lines.push(1, lines.pull(0))


def test_a_pong_that_answers_nothing_is_a_violation() -> None:
    lines = opened(Lines())
    send(lines, 0, Pong(b"12345678"))
    with pytest.raises(ProtocolViolation):
        lines.exchange()


# -- time


def minutes_until_dropped(lines: Lines, morsels: Iterable[bytes]) -> int:
    """How long the second side endures one of these a minute."""
    for minute, morsel in enumerate(morsels, 1):
        lines.now += 60
        lines.push(1, morsel)
        try:
            lines.sides[1].tick(lines.now)
        except PeerTimeout:
            return minute
    return 0


def test_an_idle_connection_is_kept_alive_by_pings() -> None:
    lines = opened(Lines())
    due = [side.tick(lines.now) for side in lines.sides]
    for _ in range(20):
        lines.now = min(due)
        due = [side.tick(lines.now) for side in lines.sides]
        lines.exchange()
    assert lines.now > 1000 + 600
    assert all(side.state is State.OPEN for side in lines.sides)


def test_a_silent_peer_is_pinged_after_60_s_and_dropped_after_150_s() -> None:
    lines = opened(Lines())
    side = lines.sides[0]
    assert side.tick(lines.now) == 1060
    assert side.to_send() is None
    lines.now = 1060
    assert side.tick(lines.now) > 1060
    assert side.to_send() is not None
    assert side.tick(1060) == 1120
    assert side.tick(1120) == 1150
    with pytest.raises(PeerTimeout):
        side.tick(1150)
    assert side.state is State.CLOSED


def test_a_probed_peer_must_answer_soon() -> None:
    lines = opened(Lines())
    lines.sides[0].probe(lines.now)
    assert lines.sides[0].tick(lines.now) == lines.now + PeerLimits().probe_timeout_s
    lines.exchange()
    assert lines.sides[0].tick(lines.now) == 1060
    lines.sides[0].probe(lines.now)
    with pytest.raises(PeerTimeout):
        lines.sides[0].tick(lines.now + 6)


def test_an_endless_handshake_is_dropped_after_10_s() -> None:
    lines = Lines()
    side = lines.sides[1]
    assert side.tick(1000) == 1010
    for second, byte in enumerate(lines.pull(0)):
        lines.now = 1000 + second / 10
        lines.push(1, bytes([byte]))
    with pytest.raises(PeerTimeout):
        side.tick(1010)


def test_a_peer_that_never_says_hello_is_dropped_after_10_s() -> None:
    lines = Lines()
    lines.push(1, lines.pull(0))
    lines.push(0, lines.pull(1))
    noise_only = lines.pull(0)[:-40]
    lines.push(1, noise_only)
    with pytest.raises(PeerTimeout):
        lines.sides[1].tick(1010)


def test_one_byte_a_minute_is_no_sign_of_life() -> None:
    lines = opened(Lines())
    send(lines, 0, Metadata(1, b"x" * 1000))
    assert minutes_until_dropped(lines, (bytes([byte]) for byte in lines.pull(0))) == 3


def test_tiny_records_of_a_message_without_end_are_no_sign_of_life() -> None:
    lines = opened(Lines())
    send_state = lines.sides[0].session
    assert send_state is not None
    header = (Metadata.TYPE << 24 | 1000).to_bytes(4)
    sealed = (send_state.send.encrypt(bytes([byte])) for byte in header + b"x" * 1000)
    assert minutes_until_dropped(lines, (len(record).to_bytes(2) + record for record in sealed)) == 3


# -- floods


def test_a_flood_of_messages_is_cut_off() -> None:
    lines = opened(Lines(limits=PeerLimits(messages_per_s=100, message_burst=500)))
    for _ in range(5):
        send(lines, 0, *(Leave(n) for n in range(100)))
        lines.exchange()
        lines.now += 0.1
    send(lines, 0, *(Leave(n) for n in range(100)))
    with pytest.raises(LimitExceeded):
        lines.exchange()
    assert lines.sides[1].state is State.CLOSED


def test_an_honest_rate_of_messages_goes_on_for_ever() -> None:
    lines = opened(Lines(limits=PeerLimits(messages_per_s=100, message_burst=500)))
    for _ in range(50):
        send(lines, 0, *(Leave(n) for n in range(99)))
        lines.exchange()
        lines.now += 1


def test_a_peer_that_does_not_read_what_it_asks_for_is_cut_off() -> None:
    lines = opened(Lines(limits=PeerLimits(max_control_queue_bytes=10_000)))
    for _ in range(833):  # asks, and never takes an answer
        send(lines, 1, Ping(b"12345678"))
        lines.push(0, lines.pull(1))
    send(lines, 1, Ping(b"12345678"))
    with pytest.raises(LimitExceeded):
        lines.push(0, lines.pull(1))
    assert lines.sides[0].state is State.CLOSED
