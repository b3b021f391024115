"""Canonical JSON: one text per value, and a parser that no text can confuse, exhaust or crash."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearrt.codec import canonical
from pearrt.errors import LimitExceeded, ProtocolViolation, RemoteError
from tests.support.require import require_module

MAX = 1 << 20

scalars = st.none() | st.booleans() | st.integers(-canonical.MAX_INT, canonical.MAX_INT) | st.text(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def parse(data: bytes) -> Any:
    return canonical.parse(data, max_bytes=MAX)


@given(values)
def test_what_is_encoded_parses_to_itself_and_encodes_the_same(value: Any) -> None:
    data = canonical.encode(value)
    assert parse(canonical.as_json(data)) == value
    assert canonical.encode(parse(canonical.as_json(data))) == data


@given(values)
def test_the_encoding_is_that_of_securesystemslib(value: Any) -> None:
    formats = require_module("securesystemslib.formats")
    assert canonical.encode(value) == formats.encode_canonical(value).encode()


@given(values, st.sampled_from([None, 1, 2]), st.booleans())
def test_any_spelling_of_a_value_parses_to_it(value: Any, indent: int | None, ascii_only: bool) -> None:
    assert parse(json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, False, None]}, '{"a":[true,false,null],"b":1}'),
        ({}, "{}"),
        ([], "[]"),
        ('a"b\\c\n\x01/é', '"a\\"b\\\\c\n\x01/é"'),
        ({"\U0001f600": 1, "\uffff": 2}, '{"\uffff":2,"\U0001f600":1}'),
        (-(2**53) + 1, "-9007199254740991"),
    ],
)
def test_known_encodings(value: Any, text: str) -> None:
    assert canonical.encode(value) == text.encode()


@pytest.mark.parametrize("value", [1.5, b"x", {1: 2}, {"a": object()}, [set()]])
def test_what_json_cannot_hold_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical.encode(value)


@pytest.mark.parametrize("text", ['{"a":1,"a":1}', '{"a":{"b":1,"b":2}}', '[{"a":1,"\\u0061":2}]'])
def test_a_key_that_stands_twice_is_refused(text: str) -> None:
    with pytest.raises(ProtocolViolation, match="twice"):
        parse(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "1.0",
        "1e400",
        "-1E5",
        "NaN",
        "Infinity",
        "-Infinity",
        str(2**53),
        str(-(2**53)),
        "9" * 5000,
        "[1.5]",
        "01",
        "+1",
    ],
)
def test_numbers_that_readers_disagree_about_are_refused(text: str) -> None:
    with pytest.raises(ProtocolViolation):
        parse(text.encode())


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        "{}".encode("utf-16-le"),
        b'"\xff"',
        b'"\xed\xa0\x80"',
        rb'"\ud800"',
        rb'{"\uDFFF":1}',
        rb'"\udc00\ud800"',
        b"",
        b"{} {}",
        b"'a'",
        b'{"a":1,}',
        b'"a\nb"',
        b'"\\x"',
    ],
)
def test_text_that_is_not_plain_json_in_utf8_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse(data)


def test_an_escaped_pair_of_surrogates_is_one_character() -> None:
    assert parse(rb'"\ud83d\ude00"') == "\U0001f600"


@pytest.mark.parametrize("bracket", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("depth", [17, 1000, 100_000])
def test_deep_nesting_is_refused_before_the_parser_recurses(bracket: bytes, depth: int) -> None:
    with pytest.raises(LimitExceeded):
        parse(bracket * depth)


def test_the_deepest_that_is_allowed_parses_and_brackets_in_strings_do_not_count() -> None:
    assert parse(b"[" * 16 + b"]" * 16) is not None
    assert parse(b'{"' + b"[" * 1000 + rb'\"{{\\":"]"}') == {"[" * 1000 + '"{{\\': "]"}


def test_more_bytes_than_allowed_are_refused_unread() -> None:
    with pytest.raises(LimitExceeded):
        canonical.parse(b"[]" + b" " * 10, max_bytes=11)


@pytest.mark.parametrize(
    "unit", [b'\\"', b'"', b"\\", b'"[",', b"[]", b'"a\\"', b"1,", b'{"":', b"\\u", b"\xf0", b'"\\ud800",']
)
def test_no_quarter_megabyte_takes_long(unit: bytes) -> None:
    for start in (b"", b"[" * 17 + b'"', b'["'):
        data = (start + unit * (256 * 1024 // len(unit)))[: 256 * 1024]
        before = time.process_time()
        with pytest.raises(RemoteError):
            parse(data)
        assert time.process_time() - before < 0.5


@given(values, st.data())
def test_truncated_or_bent_text_raises_nothing_but_remote_errors(value: Any, data: st.DataObject) -> None:
    text = canonical.as_json(canonical.encode(value))
    at = data.draw(st.integers(0, len(text) - 1))
    flipped = bytes([text[at] ^ 1 << data.draw(st.integers(0, 7))])
    for bent in (text[:at], text[:at] + flipped + text[at + 1 :]):
        with contextlib.suppress(RemoteError):
            parse(bent)


@given(st.binary(max_size=64))
def test_random_bytes_raise_nothing_but_remote_errors(data: bytes) -> None:
    with contextlib.suppress(RemoteError):
        parse(data)
