"""Records and the memory behind them."""

from __future__ import annotations

import os

import pytest

from pearrt.crypto.aead import TAG_BYTES
from pearrt.crypto.noise import CHACHAPOLY_BLAKE2B, CipherState
from pearrt.peer.framing import (
    FRAME_BYTES,
    MAX_PLAINTEXT_BYTES,
    RecordReader,
    seal,
)
from pearrt.peer.messages import Block
from pearrt.peer.pool import MAX_POOLED, POOLED_BYTES, BufferPool

KEY = b"k" * 32


def cipher() -> CipherState:
    return CipherState(CHACHAPOLY_BLAKE2B, KEY)


@pytest.mark.parametrize(
    "head", [0, 1, 36, MAX_PLAINTEXT_BYTES - 1, MAX_PLAINTEXT_BYTES, MAX_PLAINTEXT_BYTES + 1, 200_000]
)
@pytest.mark.parametrize("tail", [0, 1, MAX_PLAINTEXT_BYTES - 36, MAX_PLAINTEXT_BYTES, 262_144])
def test_sealed_records_carry_head_then_tail_in_as_few_records_as_can_be(head: int, tail: int) -> None:
    first, second = os.urandom(head), os.urandom(tail)
    sealed = seal(cipher(), first, second)
    reading, plaintext, records, at = cipher(), b"", 0, 0
    while at < len(sealed):
        length = int.from_bytes(sealed[at : at + 2])
        plaintext += reading.decrypt(sealed[at + 2 : at + 2 + length])
        at += 2 + length
        records += 1
    assert plaintext == first + second
    assert records == -(-(head + tail) // MAX_PLAINTEXT_BYTES)
    assert len(sealed) == head + tail + records * (2 + TAG_BYTES)


def test_the_buffer_of_an_idle_connection_is_one_record_long_and_grows_when_it_was_full() -> None:
    reader = RecordReader(cipher(), BufferPool())
    assert len(reader.room()) == FRAME_BYTES
    data = seal(cipher(), Block(b"i" * 32, bytes(200_000)).head(), bytes(200_000))
    while data:
        room = reader.room()
        size = min(len(room), len(data))
        room[:size] = data[:size]
        data = data[size:]
        list(reader.received(size))
    assert len(reader.room()) > FRAME_BYTES


def test_pooled_memory_is_not_lent_while_any_view_of_it_is_alive() -> None:
    pool = BufferPool()
    first = pool.take(POOLED_BYTES)
    first[:] = b"f" * POOLED_BYTES
    inner = memoryview(first)[32:][10:20]
    del first
    for _ in range(20):
        other = pool.take(POOLED_BYTES)
        other[:] = bytes(POOLED_BYTES)
    assert inner == b"f" * 10


def test_pooled_memory_is_used_again_and_bounded() -> None:
    pool = BufferPool()
    for _ in range(1000):
        pool.take(POOLED_BYTES)
    assert len(pool._buffers) <= 2
    held = [pool.take(POOLED_BYTES) for _ in range(2 * MAX_POOLED)]
    assert len(pool._buffers) == MAX_POOLED
    assert len({id(view.obj) for view in held}) == 2 * MAX_POOLED


def test_small_bodies_are_not_pooled() -> None:
    pool = BufferPool()
    assert len(pool.take(1000)) == 1000
    assert pool._buffers == []
