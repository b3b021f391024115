"""What travels between a publisher and the witnesses: a file to them, one line back.

The file holds what waits for them:

    pearrt-witness-v1 <hex SHA-256 of the rest> LF bencode of {"app": 32 bytes, "metadata": the encoded set}

The line survives e-mail (`mail_line.py`): `pearrt-witness:` and the z-base-32 of

    1   format, 1
    1   how many signatures, n
    32  public key of the witness
    8   time of the cosignatures, seconds since 1970
    64  n Ed25519 signatures: of the heads that this witness is asked for, in order of their names
    4   checksum: the first bytes of tagged("pearrt-witness-v1", everything before)

Nothing in either is verified here, but for its bounds and checksum.
"""

from __future__ import annotations

from dataclasses import dataclass

from pearrt.codec import bencode
from pearrt.crypto.hashes import DIGEST_BYTES, sha256
from pearrt.errors import LimitExceeded, ProtocolViolation
from pearrt.publish.mail_line import MailLine
from pearrt.trust.delegation import MAX_CHANNELS
from pearrt.trust.metadata_set import MAX_SET_BYTES, MetadataSet
from pearrt.trust.witness import MAX_TIME, MAX_WITNESSES, TIME_BYTES, Cosignature

MARK = "pearrt-witness:"
FORMAT = 1
MAX_SIGNATURES = MAX_CHANNELS + 2  # targets, channels, and the step to a root
MAGIC = b"pearrt-witness-v1 "
MAX_FILE_BYTES = MAX_SET_BYTES + 256
_HEAD_BYTES = 2 + 32 + TIME_BYTES
_SIGNATURE_BYTES = 64
HINT = "Ask the witness for it again, as a file or as the whole line."
FILE_HINT = "Ask the publisher for it again: `pearrt release witness LINK` writes it."


def _size(form: int, count: int) -> int | None:
    if form != FORMAT or not 0 < count <= MAX_SIGNATURES:
        return None
    return _HEAD_BYTES + count * _SIGNATURE_BYTES


_LINE = MailLine(
    mark=MARK,
    tag="pearrt-witness-v1",
    what="witness's answer",
    hint=HINT,
    most=MAX_WITNESSES,
    size=_size,
)


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

    def __str__(self) -> str:
        """The line."""
        head = bytes([FORMAT, len(self.signatures)]) + self.public + self.time.to_bytes(TIME_BYTES)
        return _LINE.write(head + b"".join(self.signatures))

    @classmethod
    def _of(cls, body: bytes) -> WitnessAnswer:
        time = int.from_bytes(body[34:_HEAD_BYTES])
        if time > MAX_TIME:
            raise ProtocolViolation("The witness's answer is of no time.", hint=HINT)
        starts = range(_HEAD_BYTES, len(body), _SIGNATURE_BYTES)
        return cls(body[2:34], time, tuple(body[at : at + _SIGNATURE_BYTES] for at in starts))


def find_witness_answers(text: bytes) -> list[WitnessAnswer]:
    """All answers in a file, a mail or a line. Raises LimitExceeded, ProtocolViolation."""
    return [WitnessAnswer._of(body) for body in _LINE.find(text)]


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
