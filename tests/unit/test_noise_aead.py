"""The two ciphers, in place and through PyNaCl's public bindings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearrt.crypto.aead import AES256GCM, CHACHA20POLY1305, TAG_BYTES, Aead, public_aeads
from pearrt.errors import ProtocolViolation

KEY, NONCE = b"k" * 32, b"n" * 12
PUBLIC = dict(zip(("AESGCM", "ChaChaPoly"), public_aeads(), strict=True))

# RFC 8439, section 2.8.2
RFC_8439_PLAINTEXT = (
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
    b"sunscreen would be it."
)
RFC_8439_TAG = bytes.fromhex("1ae10b594f09e26a7e902ecbd0600691")
# The GCM specification's test case 14: key, nonce and plaintext of zeros
GCM_CASE_14 = bytes.fromhex("cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919")


def ciphers() -> list[Aead]:
    return [cipher for cipher in (AES256GCM, CHACHA20POLY1305, *PUBLIC.values()) if cipher.available]


def sealed(cipher: Aead, plaintext: bytes, ad: bytes = b"", key: bytes = KEY, nonce: bytes = NONCE) -> bytes:
    out = memoryview(bytearray(len(plaintext) + TAG_BYTES))
    assert cipher.seal(key, nonce, ad, plaintext, out) == len(out)
    return bytes(out)


@pytest.mark.parametrize("cipher", [CHACHA20POLY1305, PUBLIC["ChaChaPoly"]])
def test_chacha20poly1305_is_rfc_8439s(cipher: Aead) -> None:
    key, nonce = bytes(range(0x80, 0xA0)), bytes.fromhex("070000004041424344454647")
    ad = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    ciphertext = sealed(cipher, RFC_8439_PLAINTEXT, ad, key, nonce)
    assert ciphertext.startswith(bytes.fromhex("d31a8d34648e60db7b86afbc53ef7ec2"))
    assert ciphertext.endswith(RFC_8439_TAG)


@pytest.mark.parametrize("cipher", [AES256GCM, PUBLIC["AESGCM"]])
def test_aes256gcm_is_the_specifications(cipher: Aead) -> None:
    if not cipher.available:
        pytest.skip("not applicable: this CPU has no AES instructions")
    assert sealed(cipher, bytes(16), b"", bytes(32), bytes(12)) == GCM_CASE_14


@given(st.binary(max_size=300), st.binary(max_size=50))
def test_both_ways_to_the_ciphers_give_the_same_bytes(plaintext: bytes, ad: bytes) -> None:
    for cipher in ciphers():
        ciphertext = sealed(cipher, plaintext, ad)
        assert ciphertext == sealed(PUBLIC[cipher.name], plaintext, ad)
        out = memoryview(bytearray(len(plaintext)))
        assert cipher.open(KEY, NONCE, ad, ciphertext, out) == len(plaintext)
        assert out == plaintext


@pytest.mark.parametrize("cipher", ciphers(), ids=lambda cipher: f"{type(cipher).__name__}-{cipher.name}")
def test_decryption_in_place(cipher: Aead) -> None:
    buffer = memoryview(bytearray(sealed(cipher, b"p" * 100_000)))
    assert cipher.open(KEY, NONCE, b"", buffer, buffer) == 100_000
    assert buffer[:100_000] == b"p" * 100_000


@pytest.mark.parametrize("cipher", ciphers(), ids=lambda cipher: f"{type(cipher).__name__}-{cipher.name}")
def test_altered_truncated_and_misplaced_ciphertexts_are_refused(cipher: Aead) -> None:
    good = sealed(cipher, b"plaintext", b"ad")
    out = memoryview(bytearray(64))
    for bad in (good[:-1], good + b"x", good[:3], b"", bytes([good[0] ^ 1]) + good[1:]):
        with pytest.raises(ProtocolViolation):
            cipher.open(KEY, NONCE, b"ad", bad, out)
    for key, nonce, ad in ((KEY, NONCE, b""), (KEY, b"m" * 12, b"ad"), (b"j" * 32, NONCE, b"ad")):
        with pytest.raises(ProtocolViolation):
            cipher.open(key, nonce, ad, good, out)


@pytest.mark.parametrize("cipher", ciphers(), ids=lambda cipher: f"{type(cipher).__name__}-{cipher.name}")
def test_nothing_is_written_past_a_buffer_that_is_too_short(cipher: Aead) -> None:
    buffer = memoryview(bytearray(64))
    with pytest.raises(ValueError):
        cipher.seal(KEY, NONCE, b"", b"x" * 32, buffer[:40])
    with pytest.raises(ValueError):
        cipher.open(KEY, NONCE, b"", sealed(cipher, b"x" * 32), buffer[:20])
    assert bytes(buffer[40:]) == bytes(24)
