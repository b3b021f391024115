"""Signing keys on disk: an Ed25519 seed sealed by a password, readable by its owner alone.

A key file is JSON of mode 0600: the public key and the comment in the clear, the seed in a libsodium
SecretBox (XSalsa20-Poly1305) under Argon2id(password, salt). Beside it lies `<name>.pub`, one line to hand to
others:

    pearrt-key:<z-base-32 of the 32-byte public key> <comment>
"""

from __future__ import annotations

import json
import os
import secrets
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pearrt.codec import zbase32
from pearrt.crypto import ed25519
from pearrt.errors import UserError

FORMAT = "pearrt-keyfile-v1"
PREFIX = "pearrt-key:"
MAX_FILE_BYTES = 4096
MAX_COMMENT_CHARS = 64
MIN_PASSWORD_CHARS = 8
SALT_BYTES = 16
KEY_LETTERS = 52

# A key file that asks for more than this is refused: it comes from a disk, but maybe from a stranger's.
MAX_OPS = 16
MAX_MEMORY_BYTES = 1 << 30
MIN_MEMORY_BYTES = 8192  # Argon2's own


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """Argon2id: `ops` passes over `memory_bytes`. The default is libsodium's MODERATE, about a second."""

    ops: int = 3
    memory_bytes: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A signer's public key (32 bytes) and a comment, which is for display only."""

    key: bytes
    comment: str = ""

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """From `pearrt-key:… comment`. Raises UserError."""
        head, _, comment = text.strip().partition(" ")
        hint = "It is the line in the .pub file that `pearrt keys new` made."
        if not head.startswith(PREFIX):
            raise UserError(f"{text[:60]!r} is no public key: it must begin with {PREFIX}", hint=hint)
        letters = head.removeprefix(PREFIX)
        try:
            key = zbase32.decode(letters) if len(letters) == KEY_LETTERS else b""
        except ValueError as e:
            raise UserError(f"The public key is misspelt: {e}.", hint=hint) from e
        if not ed25519.is_public_key(key):
            raise UserError("The public key is misspelt: it is no Ed25519 key.", hint=hint)
        return cls(key, check_comment(comment.strip()))

    def __str__(self) -> str:
        return f"{PREFIX}{zbase32.encode(self.key)} {self.comment}".rstrip()


def check_comment(comment: str) -> str:
    """The comment itself. Raises UserError where it is too long or cannot be shown."""
    if len(comment) > MAX_COMMENT_CHARS or not comment.isprintable():
        raise UserError(f"A key's comment is printable text of at most {MAX_COMMENT_CHARS} characters.")
    return comment


def create(path: Path, password: str, comment: str = "", *, cost: Argon2Cost = Argon2Cost()) -> PublicKey:
    """Makes a new key and writes `path` and, beside it, `.pub`. Raises UserError where that can't be done."""
    check_comment(comment)
    if len(password) < MIN_PASSWORD_CHARS:
        raise UserError(f"The password is too short: at least {MIN_PASSWORD_CHARS} characters, please.")
    seed = secrets.token_bytes(ed25519.SEED_BYTES)
    public = PublicKey(ed25519.public_key(seed), comment)
    salt = secrets.token_bytes(SALT_BYTES)
    fields = {
        "format": FORMAT,
        "public": str(public),
        "kdf": {"name": "argon2id", "ops": cost.ops, "memory_bytes": cost.memory_bytes, "salt": salt.hex()},
        "sealed": _seal(seed, password, salt, cost).hex(),
    }
    _write_new(path, json.dumps(fields, indent=1).encode() + b"\n", 0o600)
    _write_new(path.with_suffix(".pub"), f"{public}\n".encode(), 0o644)
    return public


def read_public(path: Path) -> PublicKey:
    """The public key of a key file or of a .pub file; no password is needed. Raises UserError."""
    data = _read(path)
    if data.lstrip().startswith(PREFIX.encode()):
        return PublicKey.parse(data.decode(errors="replace"))
    return PublicKey.parse(_fields(path, data)["public"])


def unlock(path: Path, password: str) -> bytes:
    """The 32-byte seed. Raises UserError for a wrong password or a damaged file."""
    from nacl.exceptions import CryptoError

    fields = _fields(path, _read(path))
    kdf = fields["kdf"]
    try:
        salt, sealed = bytes.fromhex(kdf["salt"]), bytes.fromhex(fields["sealed"])
        cost = Argon2Cost(int(kdf["ops"]), int(kdf["memory_bytes"]))
    except (KeyError, TypeError, ValueError) as e:
        raise _damaged(path) from e
    if kdf.get("name") != "argon2id" or len(salt) != SALT_BYTES or not _is_bearable(cost):
        raise _damaged(path)
    try:
        seed = _open(sealed, password, salt, cost)
    except CryptoError as e:
        raise UserError(
            f"The password does not open {path}.", hint="Try again; mind the keyboard layout."
        ) from e
    if len(seed) != ed25519.SEED_BYTES or ed25519.public_key(seed) != PublicKey.parse(fields["public"]).key:
        raise _damaged(path)
    return seed


def _is_bearable(cost: Argon2Cost) -> bool:
    return 1 <= cost.ops <= MAX_OPS and MIN_MEMORY_BYTES <= cost.memory_bytes <= MAX_MEMORY_BYTES


def _box(password: str, salt: bytes, cost: Argon2Cost) -> Any:
    from nacl.exceptions import RuntimeError as OutOfMemory
    from nacl.pwhash import argon2id
    from nacl.secret import SecretBox

    size, ops, memory = SecretBox.KEY_SIZE, cost.ops, cost.memory_bytes
    try:
        key = argon2id.kdf(size, _typed(password), salt, opslimit=ops, memlimit=memory)
    except OutOfMemory as e:
        raise UserError(f"There is not enough memory to open a key: {memory >> 20} MiB are needed.") from e
    return SecretBox(key)


def _typed(password: str) -> bytes:
    """The same bytes for the same letters, however a keyboard composes them (RFC 8265 uses NFC, too)."""
    return unicodedata.normalize("NFC", password).encode()


def _seal(seed: bytes, password: str, salt: bytes, cost: Argon2Cost) -> bytes:
    return bytes(_box(password, salt, cost).encrypt(seed))


def _open(sealed: bytes, password: str, salt: bytes, cost: Argon2Cost) -> bytes:
    return bytes(_box(password, salt, cost).decrypt(sealed))


def _damaged(path: Path) -> UserError:
    return UserError(f"{path} is no key file, or it is damaged.", hint="Take it from your backup.")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as e:
        raise UserError(f"Cannot read the key {path}: {e.strerror}.") from e


def _fields(path: Path, data: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(data) if len(data) <= MAX_FILE_BYTES else None
    except (ValueError, RecursionError) as e:
        raise _damaged(path) from e
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise _damaged(path)
    if not isinstance(fields.get("public"), str) or not isinstance(fields.get("kdf"), dict):
        raise _damaged(path)
    return fields


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Writes a file that must not exist yet: whole, on disk, or not at all."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)  # unlike a rename, it never replaces a key
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError as e:
        raise UserError(
            f"{path} exists already; a key is never overwritten.", hint="Choose another name."
        ) from e
    except OSError as e:
        raise UserError(f"Cannot write the key {path}: {e.strerror}.") from e
