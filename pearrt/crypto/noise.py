"""The Noise Protocol Framework, revision 34, for the four protocols that pearrt speaks.

    Noise_XX_25519_AESGCM_SHA256         Noise_XX_25519_ChaChaPoly_BLAKE2b
    Noise_XXpsk3_25519_AESGCM_SHA256     Noise_XXpsk3_25519_ChaChaPoly_BLAKE2b

Section numbers below are the specification's. Pure: the caller passes the ephemeral private key (32 random
bytes, never used twice). Any altered, truncated or forged message raises ProtocolViolation, after which the
state is worthless. A Diffie-Hellman result of zero (a low-order key) is refused, as section 12.1 permits.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base

from pearrt.crypto.aead import AES256GCM, CHACHA20POLY1305, KEY_BYTES, TAG_BYTES, Aead, Buffer
from pearrt.errors import ProtocolViolation

DH_BYTES = 32
PSK_BYTES = 32
MAX_NONCE = 2**64 - 2  # 2^64 - 1 is reserved (section 5.1)

# What each message of XX carries (section 7.5); XXpsk3 ends with a "psk" step (section 9).
_XX = (("e",), ("e", "ee", "s", "es"), ("s", "se"))


@dataclass(frozen=True, slots=True)
class Suite:
    """The ciphers and hash of one protocol name."""

    cipher: Aead
    hash_name: str
    # Any: hashlib's hash objects have no public type.
    hash_function: Callable[..., Any]
    nonce_order: str

    def hash(self, data: bytes) -> bytes:
        """HASH(data): 32 bytes for SHA-256, 64 for BLAKE2b."""
        digest: bytes = self.hash_function(data).digest()
        return digest

    def hmac(self, key: bytes, data: bytes) -> bytes:
        """HMAC-HASH(key, data)."""
        return hmac.new(key, data, self.hash_function).digest()

    def nonce(self, n: int) -> bytes:
        """The cipher's 12-byte nonce for counter n (sections 12.3 and 12.4)."""
        return bytes(4) + n.to_bytes(8, "big" if self.nonce_order == "big" else "little")

    def protocol_name(self, *, psk: bool) -> str:
        """For example Noise_XXpsk3_25519_AESGCM_SHA256."""
        return f"Noise_XX{'psk3' if psk else ''}_25519_{self.cipher.name}_{self.hash_name}"


AESGCM_SHA256 = Suite(AES256GCM, "SHA256", hashlib.sha256, "big")
CHACHAPOLY_BLAKE2B = Suite(CHACHA20POLY1305, "BLAKE2b", hashlib.blake2b, "little")


class CipherState:
    """One direction of encryption (section 5.1): a key and a counter that only rises.

    A failed `decrypt` leaves the counter where it was; the caller closes the connection.
    """

    __slots__ = ("_key", "_n", "_suite")

    def __init__(self, suite: Suite, key: bytes) -> None:
        self._suite = suite
        self._key = key
        self._n = 0

    def _nonce(self) -> bytes:
        if self._n > MAX_NONCE:
            raise ProtocolViolation("Noise: the nonces of this connection are used up")
        return self._suite.nonce(self._n)

    def encrypt_into(self, plaintext: Buffer, out: memoryview, ad: bytes = b"") -> int:
        """Writes len(plaintext) + 16 bytes to `out`, which must not overlap `plaintext`; returns how many."""
        written = self._suite.cipher.seal(self._key, self._nonce(), ad, plaintext, out)
        self._n += 1
        return written

    def decrypt_into(self, ciphertext: Buffer, out: memoryview, ad: bytes = b"") -> int:
        """Writes len(ciphertext) - 16 bytes to `out` and returns how many. Raises ProtocolViolation."""
        written = self._suite.cipher.open(self._key, self._nonce(), ad, ciphertext, out)
        self._n += 1
        return written

    def encrypt(self, plaintext: Buffer, ad: bytes = b"") -> bytes:
        """Ciphertext and tag."""
        out = bytearray(len(plaintext) + TAG_BYTES)
        self.encrypt_into(plaintext, memoryview(out), ad)
        return bytes(out)

    def decrypt(self, ciphertext: Buffer, ad: bytes = b"") -> bytes:
        """The plaintext. Raises ProtocolViolation."""
        out = bytearray(max(0, len(ciphertext) - TAG_BYTES))
        self.decrypt_into(ciphertext, memoryview(out), ad)
        return bytes(out)


class _SymmetricState:
    """Chaining key, handshake hash and, once there is one, a cipher (section 5.2)."""

    __slots__ = ("_chaining_key", "_cipher", "_suite", "hash")

    def __init__(self, suite: Suite, protocol_name: bytes) -> None:
        size = len(suite.hash(b""))
        self._suite = suite
        self.hash = (
            protocol_name.ljust(size, b"\0") if len(protocol_name) <= size else suite.hash(protocol_name)
        )
        self._chaining_key = self.hash
        self._cipher: CipherState | None = None

    def _hkdf(self, material: bytes, outputs: int) -> list[bytes]:
        """HKDF (section 4.3)."""
        temp_key = self._suite.hmac(self._chaining_key, material)
        result = [b""]
        for number in range(1, outputs + 1):
            result.append(self._suite.hmac(temp_key, result[-1] + bytes([number])))
        return result[1:]

    def mix_hash(self, data: bytes) -> None:
        self.hash = self._suite.hash(self.hash + data)

    def mix_key(self, material: bytes) -> None:
        self._chaining_key, key = self._hkdf(material, 2)
        self._cipher = CipherState(self._suite, key[:KEY_BYTES])

    def mix_key_and_hash(self, material: bytes) -> None:
        self._chaining_key, extra, key = self._hkdf(material, 3)
        self.mix_hash(extra)
        self._cipher = CipherState(self._suite, key[:KEY_BYTES])

    @property
    def tag_bytes(self) -> int:
        return TAG_BYTES if self._cipher else 0

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        ciphertext = self._cipher.encrypt(plaintext, self.hash) if self._cipher else plaintext
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        plaintext = self._cipher.decrypt(ciphertext, self.hash) if self._cipher else ciphertext
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[CipherState, CipherState]:
        first, second = self._hkdf(b"", 2)
        return CipherState(self._suite, first[:KEY_BYTES]), CipherState(self._suite, second[:KEY_BYTES])


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An X25519 key pair (RFC 7748)."""

    private: bytes = field(repr=False)
    public: bytes

    @classmethod
    def from_private(cls, private: bytes) -> KeyPair:
        """From 32 random bytes."""
        if len(private) != DH_BYTES:
            raise ValueError("an X25519 private key has 32 bytes")
        return cls(private, crypto_scalarmult_base(private))


def _dh(pair: KeyPair, public: bytes) -> bytes:
    try:
        return crypto_scalarmult(pair.private, public)
    except RuntimeError as e:  # libsodium refuses an all-zero result
        raise ProtocolViolation("Noise: the other side sent a low-order key") from e


class HandshakeState:
    """One side of an XX or XXpsk3 handshake (section 5.3).

    The initiator calls write, read, write; the responder read, write, read. Then `finished` is true and
    `split` gives (send, receive). `remote_static` is authenticated once the message that carries it was read.
    """

    __slots__ = (
        "_ephemeral",
        "_initiator",
        "_messages",
        "_psk",
        "_remote_ephemeral",
        "_static",
        "_symmetric",
        "remote_static",
    )

    def __init__(
        self,
        suite: Suite,
        *,
        initiator: bool,
        static: KeyPair,
        ephemeral: KeyPair,
        prologue: bytes = b"",
        psk: bytes = b"",
    ) -> None:
        if psk and len(psk) != PSK_BYTES:
            raise ValueError("a pre-shared key has 32 bytes")
        self._initiator = initiator
        self._static = static
        self._ephemeral = ephemeral
        self._psk = psk
        self._remote_ephemeral = b""
        self.remote_static = b""
        self._messages = [*_XX[:-1], (*_XX[-1], "psk") if psk else _XX[-1]]
        self._symmetric = _SymmetricState(suite, suite.protocol_name(psk=bool(psk)).encode())
        self._symmetric.mix_hash(prologue)

    @property
    def finished(self) -> bool:
        """Whether all three messages went through."""
        return not self._messages

    @property
    def handshake_hash(self) -> bytes:
        """Once finished, names this connection: the same for both sides, and for no other (section 11.2)."""
        return self._symmetric.hash

    def write_message(self, payload: bytes = b"") -> bytes:
        """The next handshake message, carrying `payload`."""
        out = []
        for step in self._messages.pop(0):
            if step == "e":
                out.append(self._ephemeral.public)
                self._mix_ephemeral(self._ephemeral.public)
            elif step == "s":
                out.append(self._symmetric.encrypt_and_hash(self._static.public))
            else:
                self._mix(step)
        out.append(self._symmetric.encrypt_and_hash(payload))
        return b"".join(out)

    def read_message(self, message: bytes) -> bytes:
        """The payload of the next handshake message. Raises ProtocolViolation."""
        at = 0
        for step in self._messages.pop(0):
            if step in {"e", "s"}:
                end = at + DH_BYTES + (self._symmetric.tag_bytes if step == "s" else 0)
                if end > len(message):
                    raise ProtocolViolation("Noise: handshake message too short")
                if step == "e":
                    self._remote_ephemeral = message[at:end]
                    self._mix_ephemeral(self._remote_ephemeral)
                else:
                    self.remote_static = self._symmetric.decrypt_and_hash(message[at:end])
                at = end
            else:
                self._mix(step)
        return self._symmetric.decrypt_and_hash(message[at:])

    def _mix_ephemeral(self, public: bytes) -> None:
        self._symmetric.mix_hash(public)
        if self._psk:
            self._symmetric.mix_key(public)  # section 9.2: the ephemeral randomises what the psk encrypts

    def _mix(self, step: str) -> None:
        """Mixes in a Diffie-Hellman result or the psk. A step's first letter is the initiator's key."""
        if step == "psk":
            self._symmetric.mix_key_and_hash(self._psk)
            return
        own, remote = (step[0], step[1]) if self._initiator else (step[1], step[0])
        pair = self._ephemeral if own == "e" else self._static
        self._symmetric.mix_key(_dh(pair, self._remote_ephemeral if remote == "e" else self.remote_static))

    def split(self) -> tuple[CipherState, CipherState]:
        """(send, receive) for the transport phase (section 5.2, Split)."""
        if self._messages:
            raise ValueError("the handshake is not finished")
        first, second = self._symmetric.split()
        return (first, second) if self._initiator else (second, first)
