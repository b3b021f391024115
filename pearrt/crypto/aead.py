"""The two AEAD ciphers of the peer protocol, on buffers: AES-256-GCM and ChaCha20-Poly1305 (RFC 5116, 8439).

Both have 32-byte keys, 12-byte nonces and 16-byte tags. The primitives are libsodium's, through PyNaCl. Its
public bindings take and return `bytes` only, which costs three copies per record; where its cffi module is
reachable the same functions read and write the caller's buffers in place. Both ways give the same bytes.

libsodium offers AES-256-GCM only on CPUs with AES instructions: `AES256GCM.available` says whether it does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from nacl import bindings
from nacl.exceptions import CryptoError, UnavailableError

from pearrt.errors import ProtocolViolation

try:  # not a public name, though every PyNaCl release has it; `_PublicAead` is the way without it
    from nacl._sodium import ffi as _ffi  # type: ignore[import-not-found,unused-ignore]
    from nacl._sodium import lib as _lib
except ImportError:  # pragma: no cover
    _ffi = _lib = None

Buffer: TypeAlias = bytes | bytearray | memoryview

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16


class Aead:
    """One cipher. `seal` and `open` are pure functions of their arguments."""

    __slots__ = ("available", "name")

    def __init__(self, name: str, available: bool) -> None:
        self.name = name
        self.available = available

    def seal(self, key: bytes, nonce: bytes, ad: bytes, plaintext: Buffer, out: memoryview) -> int:
        """Writes ciphertext and tag to `out` (at least len(plaintext) + 16 long); returns their length."""
        raise NotImplementedError

    def open(self, key: bytes, nonce: bytes, ad: bytes, ciphertext: Buffer, out: memoryview) -> int:
        """Writes the plaintext to `out`, returns its length. Raises ProtocolViolation if it was altered."""
        raise NotImplementedError


class _SodiumAead(Aead):
    __slots__ = ("_open", "_seal")

    def __init__(self, name: str, function: str, available: bool) -> None:
        super().__init__(name, available)
        # Any: cffi functions carry no types.
        self._seal: Any = getattr(_lib, f"{function}_encrypt")
        self._open: Any = getattr(_lib, f"{function}_decrypt")

    def seal(self, key: bytes, nonce: bytes, ad: bytes, plaintext: Buffer, out: memoryview) -> int:
        size = len(plaintext)
        if len(out) < size + TAG_BYTES:
            raise ValueError("AEAD: the output buffer is too short")
        source = _ffi.from_buffer(plaintext)
        self._seal(_ffi.from_buffer(out), _ffi.NULL, source, size, ad, len(ad), _ffi.NULL, nonce, key)
        return size + TAG_BYTES

    def open(self, key: bytes, nonce: bytes, ad: bytes, ciphertext: Buffer, out: memoryview) -> int:
        size = len(ciphertext) - TAG_BYTES
        if size < 0:
            raise ProtocolViolation("AEAD: shorter than its tag")
        if len(out) < size:
            raise ValueError("AEAD: the output buffer is too short")
        source = _ffi.from_buffer(ciphertext)
        target = _ffi.from_buffer(out)
        if self._open(target, _ffi.NULL, _ffi.NULL, source, size + TAG_BYTES, ad, len(ad), nonce, key):
            raise ProtocolViolation("AEAD: the tag does not fit")
        return size


_Binding: TypeAlias = Callable[[bytes, bytes, bytes, bytes], bytes]


class _PublicAead(Aead):
    """The same through PyNaCl's public bindings."""

    __slots__ = ("_open", "_seal")

    def __init__(self, name: str, seal: _Binding, open_: _Binding, available: bool) -> None:
        super().__init__(name, available)
        self._seal = seal
        self._open = open_

    def seal(self, key: bytes, nonce: bytes, ad: bytes, plaintext: Buffer, out: memoryview) -> int:
        sealed = self._seal(bytes(plaintext), ad, nonce, key)
        out[: len(sealed)] = sealed
        return len(sealed)

    def open(self, key: bytes, nonce: bytes, ad: bytes, ciphertext: Buffer, out: memoryview) -> int:
        if len(ciphertext) < TAG_BYTES:
            raise ProtocolViolation("AEAD: shorter than its tag")
        try:
            plaintext = self._open(bytes(ciphertext), ad, nonce, key)
        except CryptoError as e:
            raise ProtocolViolation("AEAD: the tag does not fit") from e
        out[: len(plaintext)] = plaintext
        return len(plaintext)


def _has_aes() -> bool:
    try:
        bindings.crypto_aead_aes256gcm_encrypt(b"", b"", bytes(NONCE_BYTES), bytes(KEY_BYTES))
    except (UnavailableError, AttributeError):  # a CPU without AES, a PyNaCl before 1.6
        return False
    return True


def public_aeads() -> tuple[Aead, Aead]:
    """AES-256-GCM and ChaCha20-Poly1305 by PyNaCl's public bindings alone."""
    return (
        _PublicAead(
            "AESGCM",
            bindings.crypto_aead_aes256gcm_encrypt,
            bindings.crypto_aead_aes256gcm_decrypt,
            _has_aes(),
        ),
        _PublicAead(
            "ChaChaPoly",
            bindings.crypto_aead_chacha20poly1305_ietf_encrypt,
            bindings.crypto_aead_chacha20poly1305_ietf_decrypt,
            True,
        ),
    )


def _aeads() -> tuple[Aead, Aead]:
    if not hasattr(_lib, "crypto_aead_aes256gcm_decrypt"):
        return public_aeads()
    return (
        _SodiumAead("AESGCM", "crypto_aead_aes256gcm", _has_aes()),
        _SodiumAead("ChaChaPoly", "crypto_aead_chacha20poly1305_ietf", True),
    )


AES256GCM, CHACHA20POLY1305 = _aeads()
