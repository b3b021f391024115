"""z-base-32: every key has one spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearrt.codec import zbase32


@given(st.binary(max_size=40))
def test_what_is_encoded_decodes_to_itself_in_any_case(data: bytes) -> None:
    text = zbase32.encode(data)
    assert len(text) == (8 * len(data) + 4) // 5
    assert zbase32.decode(text) == zbase32.decode(text.upper()) == data


@given(st.text(alphabet=zbase32.ALPHABET, max_size=20))
def test_whatever_decodes_is_the_one_spelling_of_its_bytes(text: str) -> None:
    try:
        data = zbase32.decode(text)
    except ValueError:
        return
    assert zbase32.encode(data) == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"\0", "yy"),
        (b"\xf0\xbf\xc7", "6n9hq"),
        (b"\xd4\x7a\x04", "4t7ye"),
        (b"\xff" * 5, "99999999"),
    ],
)
def test_the_examples_of_its_author(data: bytes, text: str) -> None:
    assert zbase32.encode(data) == text
    assert zbase32.decode(text) == data


@pytest.mark.parametrize("text", ["l", "v", "2", "0", "y!", "yy yy", "ÿy", "y", "yyy", "y9"])
def test_other_letters_and_loose_bits_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        zbase32.decode(text)
