"""Bencode (BEP 3): one text per value, strict and bounded decoding."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearrt.codec import bencode
from pearrt.errors import LimitExceeded, ProtocolViolation, RemoteError

scalars = st.integers(-(10**18), 10**18) | st.binary(max_size=12)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_what_is_encoded_decodes_to_itself(value: Any) -> None:
    assert bencode.decode(bencode.encode(value)) == value


@given(st.binary(max_size=40))
def test_whatever_decodes_strictly_is_the_one_encoding_of_its_value(data: bytes) -> None:
    try:
        value = bencode.decode(data)
    except RemoteError:
        return
    assert bencode.encode(value) == data


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (b"spam", b"4:spam"),
        (b"", b"0:"),
        (3, b"i3e"),
        (-3, b"i-3e"),
        (0, b"i0e"),
        ([b"spam", 7], b"l4:spami7ee"),
        ({b"cow": b"moo", b"bar": [b"a"]}, b"d3:barl1:ae3:cow3:mooe"),
        ({}, b"de"),
        ([], b"le"),
    ],
)
def test_the_examples_of_bep_3(value: Any, data: bytes) -> None:
    assert bencode.encode(value) == data
    assert bencode.decode(data) == value


def test_text_is_encoded_as_utf8_and_keys_are_sorted_as_bytes() -> None:
    assert bencode.encode({"ä": 1, "z": "é"}) == b"d1:z2:\xc3\xa92:\xc3\xa4i1ee"


@pytest.mark.parametrize("value", [True, 1.5, None, {1: 2}, object()])
def test_what_bencode_cannot_hold_is_a_type_error(value: Any) -> None:
    with pytest.raises((TypeError, AttributeError)):
        bencode.encode(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"i",
        b"ie",
        b"i-e",
        b"i-0e",
        b"i01e",
        b"i 1e",
        b"i+1e",
        b"i1.5e",
        b"i1",
        b"i" + b"9" * 5000 + b"e",
        b"01:a",
        b"00:",
        b"-1:a",
        b"4:abc",
        b"99999999999999999999:a",
        b"1",
        b"1:",
        b":a",
        b"l",
        b"li1e",
        b"d",
        b"d1:a",
        b"d1:ae",
        b"di1e1:ae",
        b"dle1:ae",
        b"x",
        b"e",
        b"i1ei2e",
        b"d1:b0:1:a0:e",
        b"d1:a0:1:a0:e",
    ],
)
def test_malformed_or_doubtful_texts_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        bencode.decode(data)


def test_unsorted_keys_are_let_through_on_request_repeated_ones_never() -> None:
    assert bencode.decode(b"d1:b0:1:a0:e", strict=False) == {b"a": b"", b"b": b""}
    with pytest.raises(ProtocolViolation):
        bencode.decode(b"d1:b0:1:a0:1:b0:e", strict=False)


@pytest.mark.parametrize("opening", [b"l", b"d1:a"])
@pytest.mark.parametrize("depth", [18, 1000, 100_000])
def test_deep_nesting_is_refused(opening: bytes, depth: int) -> None:
    with pytest.raises(LimitExceeded):
        bencode.decode(opening * depth)


def test_more_items_than_allowed_are_refused() -> None:
    assert len(bencode.decode(b"l" + b"0:" * 9 + b"e", max_items=10)) == 9
    with pytest.raises(LimitExceeded):
        bencode.decode(b"l" + b"0:" * 10 + b"e", max_items=10)


def test_a_length_is_checked_before_anything_is_allocated_for_it() -> None:
    with pytest.raises(ProtocolViolation):
        bencode.decode(b"d1:a999999999999:xe")


@given(values, st.data())
def test_truncated_or_bent_texts_raise_nothing_but_remote_errors(value: Any, data: st.DataObject) -> None:
    text = bencode.encode(value)
    at = data.draw(st.integers(0, len(text) - 1))
    flipped = bytes([text[at] ^ 1 << data.draw(st.integers(0, 7))])
    for bent in (text[:at], text[:at] + flipped + text[at + 1 :]):
        for strict in (True, False):
            with contextlib.suppress(RemoteError):
                bencode.decode(bent, strict=strict)
