"""An answer: one signer's signatures under one request, as a line that survives e-mail.

    pearrt-answer:<z-base-32 of the bytes below>

    1   format, 1
    1   which drafts of the request are signed: bit i for the i-th
    32  digest of the request
    32  public key of the signer
    64  Ed25519 signature, for each bit set
    4   checksum: the first bytes of tagged("pearrt-answer-v1", everything before)

Reading takes any text: white space, quotation marks of mail programs and the soft line breaks of
quoted-printable are dropped, letters after the last one are left alone. The length stands in the first
letters, so an answer needs no closing mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pearrt.codec import zbase32
from pearrt.crypto.hashes import tagged
from pearrt.errors import LimitExceeded, ProtocolViolation

MARK = "pearrt-answer:"
FORMAT = 1
MAX_DRAFTS = 4
MAX_TEXT_BYTES = 64 * 1024
MAX_ANSWERS = 64
_TAG = "pearrt-answer-v1"
_HEAD_BYTES = 66
_SIGNATURE_BYTES = 64
_CHECKSUM_BYTES = 4
_FIRST_LETTERS = 4  # 20 bits: the format and the bits
_DROPPED = re.compile(r"[\s>|=\u00ad\u200b\u200c\u200d\u2060\ufeff]")
HINT = "Ask the signer for it again, as a file or as the whole line."


@dataclass(frozen=True, slots=True)
class Answer:
    """`signatures`: 64 bytes by the position of the draft in the request. Nothing here is verified."""

    request: bytes
    public: bytes
    signatures: tuple[tuple[int, bytes], ...]

    def encode(self) -> bytes:
        """The bytes of the table above."""
        mask = sum(1 << position for position, _ in self.signatures)
        head = bytes([FORMAT, mask]) + self.request + self.public
        body = head + b"".join(value for _, value in self.signatures)
        return body + tagged(_TAG, body)[:_CHECKSUM_BYTES]

    def __str__(self) -> str:
        return MARK + zbase32.encode(self.encode())

    @classmethod
    def decode(cls, data: bytes) -> Answer:
        """The inverse of `encode`. Raises ProtocolViolation."""
        if len(data) < 2 or len(data) != _size(data[0], data[1]):
            raise ProtocolViolation("The answer has another length than it says.", hint=HINT)
        body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
        if tagged(_TAG, body)[:_CHECKSUM_BYTES] != checksum:
            raise ProtocolViolation("The answer is garbled: its checksum does not match.", hint=HINT)
        positions = [position for position in range(MAX_DRAFTS) if data[1] >> position & 1]
        values = [body[at : at + _SIGNATURE_BYTES] for at in range(_HEAD_BYTES, len(body), _SIGNATURE_BYTES)]
        return cls(body[2:34], body[34:66], tuple(zip(positions, values, strict=True)))


def find_answers(text: bytes) -> list[Answer]:
    """All answers in a file or a mail, in the order in which they stand there.

    Raises LimitExceeded for too much text, ProtocolViolation where there is none or one is garbled.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise LimitExceeded(f"An answer of more than {MAX_TEXT_BYTES >> 10} KiB is none.", hint=HINT)
    found = list(_answers(_DROPPED.sub("", text.decode("utf-8", "replace"))))
    if not found:
        raise ProtocolViolation(f"There is no answer in it: one begins with {MARK}", hint=HINT)
    return found


def _answers(text: str) -> Iterator[Answer]:
    rest = text.lower()
    for _ in range(MAX_ANSWERS + 1):
        _, mark, rest = rest.partition(MARK)
        if not mark:
            return
        first = _letters(rest[:_FIRST_LETTERS])
        count = -(-_size(first[0], first[1]) * 8 // 5)
        if len(rest) < count:
            raise ProtocolViolation("The answer is cut short.", hint=HINT)
        yield Answer.decode(_letters(rest[:count]))
        rest = rest[count:]
    raise LimitExceeded(f"There are more than {MAX_ANSWERS} answers in it.")


def _letters(text: str) -> bytes:
    """The whole bytes in any number of letters: the first four give the two that hold the length."""
    values = [zbase32.ALPHABET.find(letter) for letter in text]
    if len(values) < _FIRST_LETTERS or min(values) < 0:
        raise ProtocolViolation("The answer is garbled: a letter of it is missing or was changed.", hint=HINT)
    number = 0
    for value in values:
        number = number << 5 | value
    size = len(text) * 5 // 8
    return (number >> len(text) * 5 % 8).to_bytes(size)


def _size(form: int, mask: int) -> int:
    if form != FORMAT or not 0 < mask < 1 << MAX_DRAFTS:
        raise ProtocolViolation("The answer is garbled, or of a later version of pearrt.", hint=HINT)
    return _HEAD_BYTES + mask.bit_count() * _SIGNATURE_BYTES + _CHECKSUM_BYTES
