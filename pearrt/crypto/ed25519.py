"""Ed25519 signatures (RFC 8032): PyNaCl where it is installed, else `ed25519_pure`. Both accept the same
signatures.

libsodium alone leaves questions open that its versions answer differently (keys and R outside the prime-order
group, with or without the cofactor). Demanding that both points lie in the prime-order group closes them: see
`ed25519_pure` for the rules.
"""

from __future__ import annotations

from functools import lru_cache

from pearrt.crypto import ed25519_pure

try:
    from nacl import bindings as _sodium
    from nacl.exceptions import BadSignatureError
except ImportError:  # the bootstrapper's case: the standard library is all there is
    HAVE_SODIUM = False
else:
    HAVE_SODIUM = bool(_sodium.has_crypto_core_ed25519)

SEED_BYTES = 32
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64

if HAVE_SODIUM:

    def is_public_key(public: bytes) -> bool:
        """Whether `public` is the canonical encoding of a point of the prime-order group but its identity."""
        return _is_public_key(bytes(public))

    @lru_cache(maxsize=1024)
    def _is_public_key(public: bytes) -> bool:
        return len(public) == PUBLIC_KEY_BYTES and bool(_sodium.crypto_core_ed25519_is_valid_point(public))

    def verify(public: bytes, message: bytes, signature: bytes) -> bool:
        """Whether `signature` (64 bytes) of `message` is valid under `public` (32), by the strict rules."""
        public, signature = bytes(public), bytes(signature)
        if len(signature) != SIGNATURE_BYTES or not _is_public_key(public):
            return False
        try:
            _sodium.crypto_sign_open(signature + message, public)
        except BadSignatureError:
            return False
        return bool(_sodium.crypto_core_ed25519_is_valid_point(signature[:32]))

    def public_key(seed: bytes) -> bytes:
        """The 32-byte public key of a 32-byte seed. Raises ValueError for another length."""
        return _keypair(seed)[0]

    def sign(seed: bytes, message: bytes) -> bytes:
        """The 64-byte signature of `message`. Raises ValueError for a seed of another length."""
        return _sodium.crypto_sign(message, _keypair(seed)[1])[:SIGNATURE_BYTES]

    def _keypair(seed: bytes) -> tuple[bytes, bytes]:
        if len(seed) != SEED_BYTES:
            raise ValueError("an Ed25519 seed has 32 bytes")
        return _sodium.crypto_sign_seed_keypair(bytes(seed))

else:
    is_public_key = ed25519_pure.is_public_key
    verify = ed25519_pure.verify
    public_key = ed25519_pure.public_key
    sign = ed25519_pure.sign
