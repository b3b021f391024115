"""What travels between a publisher and the witnesses: a file to them, one line back.

The file holds what waits for them:

    pearrt-witness-v1 <hex SHA-256 of the rest> LF bencode of {"app": 32 bytes, "metadata": the encoded set}

The line survives e-mail: `pearrt-witness:` and the z-base-32 of

    1   format, 1
    1   how many signatures, n
    32  public key of the witness
    8   time of the cosignatures, seconds since 1970
    64  n Ed25519 signatures: of the heads that this witness is asked for, in order of their names
    4   checksum: the first bytes of tagged("pearrt-witness-v1", everything before)

Nothing in either is verified here, but for its bounds and checksum.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pearrt.codec import bencode, zbase32
from pearrt.crypto.hashes import DIGEST_BYTES, sha256, tagged
from pearrt.errors import LimitExceeded, ProtocolViolation
from pearrt.trust.delegation import MAX_CHANNELS
from pearrt.trust.metadata_set import MAX_SET_BYTES, MetadataSet
from pearrt.trust.witness import MAX_TIME, MAX_WITNESSES, TIME_BYTES, Cosignature

MARK = "pearrt-witness:"
FORMAT = 1
MAX_SIGNATURES = MAX_CHANNELS + 2  # targets, channels, and the step to a root
MAX_TEXT_BYTES = 64 * 1024
MAGIC = b"pearrt-witness-v1 "
MAX_FILE_BYTES = MAX_SET_BYTES + 256
_TAG = "pearrt-witness-v1"
_HEAD_BYTES = 2 + 32 + TIME_BYTES
_SIGNATURE_BYTES = 64
_CHECKSUM_BYTES = 4
_DROPPED = re.compile(r"[\s>|=\u00ad\u200b\u200c\u200d\u2060\ufeff]")
HINT = "Ask the witness for it again, as a file or as the whole line."
FILE_HINT = "Ask the publisher for it again: `pearrt release witness LINK` writes it."


@dataclass(frozen=True, slots=True)
class WitnessAnswer:
    """One witness's cosignatures, in order of the names of what they are of."""

    public: bytes
    time: int
    signatures: tuple[bytes, ...]

    @classmethod
    def of(cls, made: dict[str, Cosignature]) -> WitnessAnswer:
        """The answer that says what `WitnessBook.cosign` made."""
        ordered = [made[name] for name in sorted(made)]
        return cls(ordered[0].public, ordered[0].time, tuple(each.signature for each in ordered))

    def encode(self) -> bytes:
        """The bytes of the table above."""
        body = bytes([FORMAT, len(self.signatures)]) + self.public + self.time.to_bytes(TIME_BYTES)
        body += b"".join(self.signatures)
        return body + tagged(_TAG, body)[:_CHECKSUM_BYTES]

    def __str__(self) -> str:
        return MARK + zbase32.encode(self.encode())

    @classmethod
    def decode(cls, data: bytes) -> WitnessAnswer:
        """The inverse of `encode`. Raises ProtocolViolation."""
        if len(data) < 2 or len(data) != _size(data[0], data[1]):
            raise ProtocolViolation("The witness's answer has another length than it says.", hint=HINT)
        body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
        if tagged(_TAG, body)[:_CHECKSUM_BYTES] != checksum:
            raise ProtocolViolation(
                "The witness's answer is garbled: its checksum does not match.", hint=HINT
            )
        time = int.from_bytes(body[34:_HEAD_BYTES])
        if time > MAX_TIME:
            raise ProtocolViolation("The witness's answer is of no time.", hint=HINT)
        starts = range(_HEAD_BYTES, len(body), _SIGNATURE_BYTES)
        return cls(body[2:34], time, tuple(body[at : at + _SIGNATURE_BYTES] for at in starts))


def find_witness_answers(text: bytes) -> list[WitnessAnswer]:
    """All answers in a file, a mail or a line. Raises LimitExceeded, ProtocolViolation."""
    if len(text) > MAX_TEXT_BYTES:
        raise LimitExceeded(f"An answer of more than {MAX_TEXT_BYTES >> 10} KiB is none.", hint=HINT)
    found = list(_answers(_DROPPED.sub("", text.decode("utf-8", "replace")).lower()))
    if not found:
        raise ProtocolViolation(f"There is no witness's answer in it: one begins with {MARK}", hint=HINT)
    return found


def _answers(text: str) -> Iterator[WitnessAnswer]:
    parts = text.split(MARK)[1:]
    if len(parts) > MAX_WITNESSES:
        raise LimitExceeded(f"There are more than {MAX_WITNESSES} answers in it.")
    for part in parts:
        first = _letters(part[:4])
        count = -(-_size(first[0], first[1]) * 8 // 5)
        if len(part) < count:
            raise ProtocolViolation("The witness's answer is cut short.", hint=HINT)
        yield WitnessAnswer.decode(_letters(part[:count]))


def _letters(text: str) -> bytes:
    """The whole bytes in any number of letters: the first four give the two that hold the length."""
    values = [zbase32.ALPHABET.find(letter) for letter in text]
    if len(values) < 4 or min(values) < 0:
        raise ProtocolViolation("The witness's answer is garbled: a letter is missing or changed.", hint=HINT)
    number = 0
    for value in values:
        number = number << 5 | value
    return (number >> len(text) * 5 % 8).to_bytes(len(text) * 5 // 8)


def _size(form: int, count: int) -> int:
    if form != FORMAT or not 0 < count <= MAX_SIGNATURES:
        raise ProtocolViolation(
            "The witness's answer is garbled, or of a later version of pearrt.", hint=HINT
        )
    return _HEAD_BYTES + count * _SIGNATURE_BYTES + _CHECKSUM_BYTES


@dataclass(frozen=True, slots=True)
class WitnessRequest:
    """What witnesses are shown: the whole metadata, with all roots, as the publisher would publish it."""

    app_key: bytes
    metadata: MetadataSet

    def encode(self) -> bytes:
        """The file."""
        body = bencode.encode({"app": self.app_key, "metadata": self.metadata.encode()})
        return MAGIC + sha256(body).hex().encode() + b"\n" + body

    @classmethod
    def decode(cls, data: bytes) -> WitnessRequest:
        """The inverse of `encode`. Raises LimitExceeded, ProtocolViolation."""
        if len(data) > MAX_FILE_BYTES:
            raise LimitExceeded(f"A file for witnesses has at most {MAX_FILE_BYTES} bytes.", hint=FILE_HINT)
        start = len(MAGIC) + 2 * DIGEST_BYTES + 1
        if not data.startswith(MAGIC):
            raise ProtocolViolation(
                "This is no file for witnesses: it does not begin like one.", hint=FILE_HINT
            )
        body = data[start:]
        if data[len(MAGIC) : start] != sha256(body).hex().encode() + b"\n":
            raise ProtocolViolation("The file was cut short or changed on its way.", hint=FILE_HINT)
        match bencode.decode(body, max_depth=1, max_items=8):
            case {b"app": bytes() as app_key, b"metadata": bytes() as raw, **others} if (
                len(app_key) == DIGEST_BYTES and not others
            ):
                return cls(app_key, MetadataSet.decode(raw))
        raise ProtocolViolation(
            "The file has other fields than this version of pearrt knows.", hint=FILE_HINT
        )
