"""Six words: the same for the same bytes, 66 bits, and typed by people."""

from __future__ import annotations

import pytest

from pearrt.errors import UserError
from pearrt.publish.fingerprint import check_typed, fingerprint
from pearrt.publish.words import WORDS


def test_the_list_is_the_published_one() -> None:
    from pearrt.crypto.hashes import sha256

    listed = "".join(f"{word}\n" for word in WORDS).encode()
    # The hash of english.txt in bitcoin/bips, bip-0039.
    assert sha256(listed).hex() == "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
    assert len({word[:4] for word in WORDS}) == len(WORDS) == 2048


def test_six_words_that_never_change_for_the_same_digest() -> None:
    words = fingerprint(bytes(32))
    assert words == VECTOR
    assert len(words.split()) == 6
    assert fingerprint(bytes(31) + b"\1") != words


VECTOR = "teach jewel travel inject dice hood"


@pytest.mark.parametrize(
    "typed", ["abandon ability able about above zoo", " Abandon-ability, ABLE  about above\tzoo\n"]
)
def test_what_people_type_is_read_kindly(typed: str) -> None:
    check_typed(typed, "abandon ability able about above zoo")


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "abandon",
        "abandon ability able about above",
        "abandon ability able about above above",
        "x" * 10_000,
    ],
)
def test_other_words_sign_nothing(typed: str) -> None:
    with pytest.raises(UserError, match="nothing was signed"):
        check_typed(typed, "abandon ability able about above zoo")
