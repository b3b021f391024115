"""A release room: a request and its answers travel over pearrt itself, found by whoever has the room's link.

    pearrt://<app>[?node=…]#request=<128 letters: z-base-32 of digest, secret, id of the sealed block>

- The **secret** is 16 random bytes: without them even who guesses a whole request can confirm nothing.
- The **sealed block** is the request's statement (what its digest is of), ChaCha20-Poly1305 under
  key = tagged("pearrt-room-key-v1", digest + secret), nonce 0: the digest decides the plaintext, so no key
  ever seals two. Peers of the app pass it on like any block, by the SHA-256 of its bytes; to who lacks the
  link it says nothing. What the drafts follow is not in it: each reader has that from their trusted metadata.
- An **answer** is a mutable item of the DHT (BEP 44) under the signer's own key. Its salt is
  tagged("pearrt-room-salt-v1", digest + secret): without the link nobody finds it or tells what it is for.
  Its value is 1 byte format, 1 byte of bits and 64 bytes for each bit, as in `answer.py`; request and signer
  are where it lies.

What the signer's key signs for an item begins with `4:salt32:`. Drafts and all other TUF metadata begin with
`{`, attestations (DSSE) with `DSSEv1 `, what SSH signs with a length below 2^24, hence a zero byte, or with
`SSHSIG`: none can be taken for another. Nothing in a room is believed: a request is checked as one in a file
is, an answer as one in a mail is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pearrt.codec import bencode, zbase32
from pearrt.crypto import ed25519
from pearrt.crypto.aead import CHACHA20POLY1305, NONCE_BYTES, TAG_BYTES
from pearrt.crypto.hashes import DIGEST_BYTES, sha256, tagged
from pearrt.dht.items import MutableItem, check_own, signed_text
from pearrt.errors import BadLink, BadSignature, DigestMismatch, PearrtError, ProtocolViolation, UserError
from pearrt.link import Link
from pearrt.peer.messages import MAX_BLOCK_BYTES
from pearrt.publish.answer import MAX_DRAFTS, Answer
from pearrt.publish.ceremony import all_signers, check_answer
from pearrt.publish.draft import display_name
from pearrt.publish.request import Request
from pearrt.publish.signers import SigningKey
from pearrt.trust.app import TrustedApp
from pearrt.trust.metadata import Signer

NAME = "request="
FORMAT = 1
SECRET_BYTES = 16
LETTERS = 128
MAX_POST_BYTES = 2 + 64 * MAX_DRAFTS
SIGNED_BEGINS = b"4:salt32:"
_KEY_TAG = "pearrt-room-key-v1"
_SALT_TAG = "pearrt-room-salt-v1"
_LINK_HINT = "Copy the whole link again, with all that follows the #."


@dataclass(frozen=True, slots=True)
class Room:
    """Which request it is, what only its members know, and the id of the block that it travels in."""

    app_key: bytes
    digest: bytes
    secret: bytes = field(repr=False)
    block: bytes

    @classmethod
    def of(cls, request: Request, secret: bytes) -> Room:
        """The room of a request, with a secret of SECRET_BYTES. Raises UserError as `seal`."""
        return cls(request.app_key, request.digest, secret, sha256(seal(request, secret)))

    @classmethod
    def parse(cls, link: Link) -> Room:
        """The room that a link leads to. Raises BadLink."""
        if not link.fragment.startswith(NAME):
            raise BadLink("This link leads to no release room.", hint=_LINK_HINT)
        letters = link.fragment.removeprefix(NAME)
        try:
            data = zbase32.decode(letters) if len(letters) == LETTERS else b""
        except ValueError as e:
            raise BadLink(f"The link to the release room is misspelt: {e}.", hint=_LINK_HINT) from e
        if len(data) != 2 * DIGEST_BYTES + SECRET_BYTES:
            raise BadLink("The link to the release room is cut short.", hint=_LINK_HINT)
        digest, secret = data[:DIGEST_BYTES], data[DIGEST_BYTES:-DIGEST_BYTES]
        return cls(link.app_key, digest, secret, data[-DIGEST_BYTES:])

    @property
    def fragment(self) -> str:
        """What the link carries of it."""
        return NAME + zbase32.encode(self.digest + self.secret + self.block)

    @property
    def salt(self) -> bytes:
        """Under which salt each signer's answer lies in the DHT."""
        return tagged(_SALT_TAG, self.digest + self.secret)

    def unseal(self, data: bytes, base: TrustedApp | None) -> Request:
        """The request in a sealed block, following what this machine trusts.

        Raises DigestMismatch or ProtocolViolation for another block, and as `Request.of_statement`.
        """
        if sha256(data) != self.block or not TAG_BYTES <= len(data) <= MAX_BLOCK_BYTES:
            raise DigestMismatch("The block is not the one that the link to the release room names.")
        out = bytearray(len(data))
        size = CHACHA20POLY1305.open(
            _key(self.digest, self.secret), bytes(NONCE_BYTES), b"", data, memoryview(out)
        )
        request = Request.of_statement(bytes(out[:size]), self.digest, base)
        if request.app_key != self.app_key:
            raise DigestMismatch("The request in the release room is for another app than the link.")
        return request


def seal(request: Request, secret: bytes) -> bytes:
    """The block that a request travels in; the same bytes whoever in the room makes it. Raises UserError
    where it is too large for one."""
    statement = request.statement
    size = len(statement) + TAG_BYTES
    if size > MAX_BLOCK_BYTES:
        raise UserError(
            f"The request has {len(statement)} bytes to sign, more than a release room takes.",
            hint="Send the file instead.",
        )
    out = bytearray(size)
    CHACHA20POLY1305.seal(_key(request.digest, secret), bytes(NONCE_BYTES), b"", statement, memoryview(out))
    return bytes(out)


def _key(digest: bytes, secret: bytes) -> bytes:
    return tagged(_KEY_TAG, digest + secret)


def post(room: Room, answer: Answer, key: SigningKey, seq: int) -> MutableItem:
    """An answer as the DHT stores it, signed once more by the key that gave it. `seq`: Unix seconds, so that
    a later one replaces it.

    Raises UserError for an answer to another request, BadSignature where what holds the key signs falsely.
    """
    if answer.request != room.digest or answer.public != key.public:
        raise UserError("The answer is another key's, or to another request.")
    mask = sum(1 << position for position, _ in answer.signatures)
    encoded = bencode.encode(bytes([FORMAT, mask]) + b"".join(value for _, value in answer.signatures))
    check_own(encoded, room.salt, seq)
    text = signed_text(room.salt, seq, encoded)
    assert text.startswith(SIGNED_BEGINS)  # never to be taken for anything else that this key signs
    signature = key.sign(text)
    if not ed25519.verify(key.public, text, signature):
        raise BadSignature("What holds the key gave a signature that does not verify.")
    return MutableItem(key.public, room.salt, seq, encoded, signature)


def read_post(room: Room, public: bytes, value: bytes) -> Answer:
    """The answer under a signer's key; its signatures are not verified. Raises ProtocolViolation."""
    if not 2 <= len(value) <= MAX_POST_BYTES or value[0] != FORMAT or not 0 < value[1] < 1 << MAX_DRAFTS:
        raise ProtocolViolation("What lies there is no answer, or one of a later version of pearrt.")
    positions = [position for position in range(MAX_DRAFTS) if value[1] >> position & 1]
    values = [value[at : at + 64] for at in range(2, len(value), 64)]
    if len(value) != 2 + 64 * len(positions):
        raise ProtocolViolation("What lies there has another length than it says.")
    return Answer(room.digest, public, tuple(zip(positions, values, strict=True)))


@dataclass(frozen=True, slots=True)
class Gathered:
    """A request with what was found in its room. `refused`: signer, and why what lies there counts not."""

    request: Request
    came: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]


def awaited(request: Request) -> list[Signer]:
    """Who may still answer, each once."""
    answered = {answer.public for answer in request.answers}
    return [signer for public, signer in all_signers(request).items() if public not in answered]


def gather(room: Room, request: Request, posts: Iterable[tuple[bytes, bytes]]) -> Gathered:
    """Takes the answers among what lies in the request's room, public key and value each: one for each signer
    who is awaited.

    What is no answer is refused by name and stops nothing; what nobody asked for is left alone. The answers
    that the request holds must have been checked.
    """
    waiting = {signer.public: signer for signer in awaited(request)}
    taken: dict[bytes, Answer] = {answer.public: answer for answer in request.answers}
    came, refused = [], []
    for public, value in posts:
        if (signer := waiting.pop(public, None)) is None:
            continue
        try:
            answer = read_post(room, public, value)
            check_answer(request, answer)
        except PearrtError as e:
            refused.append((display_name(signer), e.message))
        else:
            taken[public] = answer
            came.append(display_name(signer))
    ordered = request.with_answers(taken[public] for public in sorted(taken))
    return Gathered(ordered, tuple(came), tuple(refused))
