"""OpenSSH's public keys of kind ssh-ed25519: the same Ed25519 key as a signer's, written otherwise.

    ssh-ed25519 <base64 of: string "ssh-ed25519", string 32-byte key> comment         (RFC 8709, section 4)

A string is a length in four bytes, big endian, and that many bytes (RFC 4251, section 5). Keys that live in a
security key (`sk-ssh-ed25519@openssh.com`) sign a wrapper of their own making, never raw bytes: they cannot
sign a release.
"""

from __future__ import annotations

import base64
import binascii

from pearrt.crypto import ed25519
from pearrt.crypto.keyfile import MAX_COMMENT_CHARS, PublicKey
from pearrt.errors import ProtocolViolation, UserError

KIND = b"ssh-ed25519"
KEY_BYTES = 32
MAX_LINE_CHARS = 1024


def is_ssh_key(text: str) -> bool:
    """Whether the text looks like a line of an OpenSSH `.pub` file, of any kind."""
    return text.startswith(("ssh-", "sk-", "ecdsa-"))


def parse_ssh_key(text: str) -> PublicKey:
    """The signer's key in a line of a `.pub` file. Raises UserError."""
    kind, _, rest = text[:MAX_LINE_CHARS].strip().partition(" ")
    if kind != KIND.decode():
        raise UserError(
            f"A key of kind {kind[:40]} cannot sign releases.",
            hint="Take a plain Ed25519 key: ssh-keygen -t ed25519.",
        )
    letters, _, comment = rest.strip().partition(" ")
    try:
        blob = base64.b64decode(letters, validate=True)
        key = key_of(blob)
    except (binascii.Error, ProtocolViolation) as e:
        raise UserError("The SSH key is misspelt.", hint="Copy the whole line of its .pub file.") from e
    if key is None:
        raise UserError("The SSH key is of another kind than its line says.")
    return PublicKey(key, shown_comment(comment))


def shown_comment(comment: str) -> str:
    """As much of a comment as a public key can carry."""
    return "".join(letter for letter in comment.strip() if letter.isprintable())[:MAX_COMMENT_CHARS]


def key_of(blob: bytes) -> bytes | None:
    """The 32 bytes of an ssh-ed25519 key blob; None for another kind of key. Raises ProtocolViolation."""
    kind, rest = take_string(blob)
    if kind != KIND:
        return None
    key, rest = take_string(rest)
    if len(key) != KEY_BYTES or rest or not ed25519.is_public_key(key):
        raise ProtocolViolation("an SSH key blob that holds no Ed25519 key")
    return key


def blob_of(key: bytes) -> bytes:
    """The key blob of an Ed25519 key: the inverse of `key_of`."""
    return string(KIND) + string(key)


def string(data: bytes) -> bytes:
    """RFC 4251's string."""
    return len(data).to_bytes(4, "big") + data


def take_string(data: bytes) -> tuple[bytes, bytes]:
    """The first string of `data`, and what follows it. Raises ProtocolViolation."""
    size = int.from_bytes(data[:4], "big")
    if len(data) < 4 or len(data) - 4 < size:
        raise ProtocolViolation("an SSH string that is longer than its message")
    return data[4 : 4 + size], data[4 + size :]
