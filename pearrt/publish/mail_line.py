"""Bytes as a line that survives e-mail: what signers and witnesses send back.

    <mark><z-base-32 of the body and its checksum>

The checksum is the first four bytes of tagged(tag, body). The body begins with a byte for its format and one
that its length follows from; they stand in the first letters, so a line needs no closing mark.

Reading takes any text: white space, quotation marks of mail programs and the soft line breaks of
quoted-printable are dropped, letters after the last one are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pearrt.codec import zbase32
from pearrt.crypto.hashes import tagged
from pearrt.errors import LimitExceeded, ProtocolViolation

MAX_TEXT_BYTES = 64 * 1024
CHECKSUM_BYTES = 4
_FIRST_LETTERS = 4  # 20 bits: the two bytes that tell the length
_DROPPED = re.compile(r"[\s>|=\u00ad\u200b\u200c\u200d\u2060\ufeff]")


@dataclass(frozen=True, slots=True)
class MailLine:
    """One kind of line. `size` gives the length of a body by its first two bytes, None where there is none
    with these; a text holds `most`. `what` and `hint` are for messages."""

    mark: str
    tag: str
    what: str
    hint: str
    most: int
    size: Callable[[int, int], int | None]

    def write(self, body: bytes) -> str:
        """The line."""
        return self.mark + zbase32.encode(self.seal(body))

    def seal(self, body: bytes) -> bytes:
        """The body with its checksum."""
        return body + tagged(self.tag, body)[:CHECKSUM_BYTES]

    def open(self, data: bytes) -> bytes:
        """The inverse of `seal`. Raises ProtocolViolation."""
        if len(data) < 2 or len(data) != self._sealed_bytes(data):
            raise self._refuse("has another length than it says")
        body = data[:-CHECKSUM_BYTES]
        if self.seal(body) != data:
            raise self._refuse("is garbled: its checksum does not match")
        return body

    def find(self, text: bytes) -> list[bytes]:
        """The bodies of all lines in a file or a mail, in the order in which they stand there.

        Raises LimitExceeded for too much text, ProtocolViolation where there is none or one is garbled.
        """
        if len(text) > MAX_TEXT_BYTES:
            raise LimitExceeded(
                f"A text of more than {MAX_TEXT_BYTES >> 10} KiB holds no {self.what}.", hint=self.hint
            )
        found = list(self._bodies(_DROPPED.sub("", text.decode("utf-8", "replace")).lower()))
        if not found:
            raise ProtocolViolation(
                f"There is no {self.what} in it: one begins with {self.mark}", hint=self.hint
            )
        return found

    def _bodies(self, text: str) -> Iterator[bytes]:
        for number, part in enumerate(text.split(self.mark)[1:]):
            if number == self.most:
                raise LimitExceeded(f"There is more than {self.most} times {self.mark} in it.")
            count = -(-self._sealed_bytes(self._letters(part[:_FIRST_LETTERS])) * 8 // 5)
            if len(part) < count:
                raise self._refuse("is cut short")
            yield self.open(self._letters(part[:count]))

    def _sealed_bytes(self, data: bytes) -> int:
        size = self.size(data[0], data[1])
        if size is None:
            raise self._refuse("is garbled, or of a later version of pearrt")
        return size + CHECKSUM_BYTES

    def _letters(self, text: str) -> bytes:
        """The whole bytes in any number of letters: the first four give the two that hold the length."""
        values = [zbase32.ALPHABET.find(letter) for letter in text]
        if len(values) < _FIRST_LETTERS or min(values) < 0:
            raise self._refuse("is garbled: a letter of it is missing or was changed")
        number = 0
        for value in values:
            number = number << 5 | value
        return (number >> len(text) * 5 % 8).to_bytes(len(text) * 5 // 8)

    def _refuse(self, why: str) -> ProtocolViolation:
        return ProtocolViolation(f"The {self.what} {why}.", hint=self.hint)
