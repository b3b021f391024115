"""An answer: one signer's signatures under one request, as a line that survives e-mail (`mail_line.py`).

pearrt-answer:<z-base-32 of the bytes below>

1   format, 1
1   which drafts of the request are signed: bit i for the i-th
32  digest of the request
32  public key of the signer
64  Ed25519 signature, for each bit set
4   checksum: the first bytes of tagged("pearrt-answer-v1", everything before)
"""

from __future__ import annotations

from dataclasses import dataclass

from pearrt.publish.mail_line import MailLine

MARK = "pearrt-answer:"
FORMAT = 1
MAX_DRAFTS = 4
MAX_ANSWERS = 64
_HEAD_BYTES = 66
_SIGNATURE_BYTES = 64


def _size(form: int, mask: int) -> int | None:
    if form != FORMAT or not 0 < mask < 1 << MAX_DRAFTS:
        return None
    return _HEAD_BYTES + mask.bit_count() * _SIGNATURE_BYTES


_LINE = MailLine(
    mark=MARK,
    tag="pearrt-answer-v1",
    what="answer",
    hint="Ask the signer for it again, as a file or as the whole line.",
    most=MAX_ANSWERS,
    size=_size,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """`signatures`: 64 bytes by the position of the draft in the request. Nothing here is verified."""

    request: bytes
    public: bytes
    signatures: tuple[tuple[int, bytes], ...]

    def _body(self) -> bytes:
        mask = sum(1 << position for position, _ in self.signatures)
        head = bytes([FORMAT, mask]) + self.request + self.public
        return head + b"".join(value for _, value in self.signatures)

    @classmethod
    def _of(cls, body: bytes) -> Answer:
        positions = [position for position in range(MAX_DRAFTS) if body[1] >> position & 1]
        values = [body[at : at + _SIGNATURE_BYTES] for at in range(_HEAD_BYTES, len(body), _SIGNATURE_BYTES)]
        return cls(body[2:34], body[34:66], tuple(zip(positions, values, strict=True)))

    def encode(self) -> bytes:
        """The bytes of the table above."""
        return _LINE.seal(self._body())

    def __str__(self) -> str:
        return _LINE.write(self._body())

    @classmethod
    def decode(cls, data: bytes) -> Answer:
        """The inverse of `encode`. Raises ProtocolViolation."""
        return cls._of(_LINE.open(data))


def find_answers(text: bytes) -> list[Answer]:
    """All answers in a file or a mail, in the order in which they stand there.

    Raises LimitExceeded for too much text, ProtocolViolation where there is none or one is garbled.
    """
    return [Answer._of(body) for body in _LINE.find(text)]
