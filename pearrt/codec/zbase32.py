"""z-base-32: the human-oriented base-32 encoding of links (Zooko O'Whielacronx, 2009).

Bits are taken from the most significant end; a last group is padded with zero bits. Decoding accepts capitals
and refuses non-zero padding, so that one key has one spelling.
"""

from __future__ import annotations

ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769"
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}


def encode(data: bytes) -> str:
    """ceil(8 * len / 5) letters."""
    bits = len(data) * 8
    pad = -bits % 5
    number = int.from_bytes(data) << pad
    return "".join(ALPHABET[number >> shift & 31] for shift in range(bits + pad - 5, -1, -5))


def decode(text: str) -> bytes:
    """The floor(5 * len / 8) bytes that `text` spells. Raises ValueError for other letters or padding."""
    number = 0
    for letter in text.lower():
        value = _VALUES.get(letter)
        if value is None:
            raise ValueError(f"{letter!r} is not a z-base-32 letter")
        number = number << 5 | value
    pad = len(text) * 5 % 8
    if pad >= 5 or number & ((1 << pad) - 1):
        raise ValueError("its last letter cannot be right")
    return (number >> pad).to_bytes(len(text) * 5 // 8)
