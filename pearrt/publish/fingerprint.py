"""Six words to read aloud: whether several people look at the same request.

The words spell 66 bits of scrypt over the digest of the canonical signed bytes. scrypt, because who writes a
request could otherwise find two requests with the same words by 2^33 hashes, an hour's work; at 32 MiB and a
tenth of a second each it is decades of a core. The words identify; signatures are made over all the bytes.
"""

from __future__ import annotations

import hashlib
import unicodedata

from pearrt.errors import UserError
from pearrt.publish.words import WORDS

WORD_COUNT = 6
BITS_PER_WORD = 11
SALT = b"pearrt-fingerprint-v1"
SCRYPT_N = 1 << 15
SCRYPT_R = 8
SCRYPT_MEMORY_BYTES = 48 << 20  # 128 * N * r, and some room


def fingerprint(digest: bytes) -> str:
    """The six words of a request's digest, divided by spaces. Takes about 0.1 s."""
    bits = WORD_COUNT * BITS_PER_WORD
    size = -(-bits // 8)
    raw = hashlib.scrypt(
        digest, salt=SALT, n=SCRYPT_N, r=SCRYPT_R, p=1, maxmem=SCRYPT_MEMORY_BYTES, dklen=size
    )
    number = int.from_bytes(raw) >> (size * 8 - bits)
    shifts = range(bits - BITS_PER_WORD, -1, -BITS_PER_WORD)
    return " ".join(WORDS[number >> shift & (len(WORDS) - 1)] for shift in shifts)


def check_typed(typed: str, expected: str) -> None:
    """Raises UserError unless the person typed these words; case and what divides them are free."""
    words = unicodedata.normalize("NFKC", typed).lower().replace("-", " ").replace(",", " ").split()
    if words != expected.split():
        raise UserError(
            "These are not the six words of this request: nothing was signed.",
            hint="Let someone who reviewed it read them aloud. If those are right, you hold another one.",
        )
