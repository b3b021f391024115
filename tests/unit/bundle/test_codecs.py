"""Codecs: what goes in comes out; what does not shrink is stored as it is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearrt.bundle.codecs import Codec, default_level
from pearrt.bundle.index import CODECS, MAX_FRAME_BYTES
from tests.support.trees import noise, text


@given(st.binary(min_size=1, max_size=3000), st.sampled_from(CODECS))
def test_any_bytes_round_trip(raw: bytes, codec: str) -> None:
    stored = Codec(codec, 1).pack(raw)
    assert len(stored) <= len(raw)
    assert Codec(codec).unpack(stored, len(raw)) == raw


@pytest.mark.parametrize("codec", CODECS)
def test_largest_frame_round_trips(codec: str) -> None:
    raw = text(1, 1000) * (MAX_FRAME_BYTES // 1000) + b"end"
    assert Codec(codec).unpack(Codec(codec, 1).pack(raw), len(raw)) == raw


@pytest.mark.parametrize("codec", CODECS)
def test_incompressible_bytes_are_stored_raw(codec: str) -> None:
    raw = noise(1, 100_000)
    assert Codec(codec, 1).pack(raw) == raw


def test_nearly_incompressible_bytes_are_stored_raw_and_quickly() -> None:
    raw = noise(2, 2_000_000) + bytes(10_000)
    started = time.process_time()
    assert Codec("zstd", 19).pack(raw) == raw
    assert time.process_time() - started < 0.2


def test_packing_is_repeatable_whatever_was_packed_before() -> None:
    used = Codec("zstd", 9)
    used.pack(text(5, 50_000))
    assert used.pack(text(6, 50_000)) == Codec("zstd", 9).pack(text(6, 50_000))


def test_large_trees_get_a_quick_level() -> None:
    assert default_level("zstd", 1_000_000) > default_level("zstd", 400_000_000)
    assert {default_level(codec, 0) for codec in CODECS} <= set(range(20))
