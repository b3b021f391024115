"""Ed25519: both implementations are RFC 8032's, equally strict, and agree on every input, forged ones too."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pearrt.crypto import ed25519, ed25519_pure
from pearrt.crypto.ed25519_pure import _IDENTITY, L, P, Point, _add, _cache, _decode, _encode, _recover_x

IMPLEMENTATIONS = [ed25519, ed25519_pure]

# RFC 8032, 7.1: seed, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
        "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]

seeds = st.binary(min_size=32, max_size=32)
both = pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=["sodium", "pure"])


def test_pynacl_is_here_so_that_two_implementations_are_compared() -> None:
    assert ed25519.HAVE_SODIUM
    assert ed25519.verify is not ed25519_pure.verify


@both
@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_the_vectors_of_rfc_8032(
    implementation: ModuleType, seed: str, public: str, message: str, signature: str
) -> None:
    assert implementation.public_key(bytes.fromhex(seed)).hex() == public
    assert implementation.sign(bytes.fromhex(seed), bytes.fromhex(message)).hex() == signature
    assert implementation.verify(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))


@settings(max_examples=30)
@given(seeds, st.binary(max_size=300))
def test_both_make_the_same_keys_and_signatures_and_accept_them(seed: bytes, message: bytes) -> None:
    public, signature = ed25519.public_key(seed), ed25519.sign(seed, message)
    assert public == ed25519_pure.public_key(seed)
    assert signature == ed25519_pure.sign(seed, message)
    assert ed25519.verify(public, message, signature)
    assert ed25519_pure.verify(public, message, signature)


@settings(max_examples=60)
@given(seeds, st.binary(max_size=20), st.integers(0, 32 * 8 - 1), st.integers(0, 64 * 8 - 1))
def test_a_flipped_bit_anywhere_is_refused_by_both(seed: bytes, message: bytes, a: int, b: int) -> None:
    public, signature = ed25519.public_key(seed), ed25519.sign(seed, message)
    for bent in ((_flip(public, a), message, signature), (public, message, _flip(signature, b))):
        assert not ed25519.verify(*bent)
        assert not ed25519_pure.verify(*bent)
    assert not ed25519_pure.verify(public, message + b"x", signature)


@settings(max_examples=60)
@given(
    st.binary(max_size=40) | seeds,
    st.binary(max_size=8),
    st.binary(max_size=70) | st.binary(min_size=64, max_size=64),
)
def test_arbitrary_bytes_are_refused_by_both_without_an_error(
    public: bytes, message: bytes, signature: bytes
) -> None:
    assert not ed25519.verify(public, message, signature)
    assert not ed25519_pure.verify(public, message, signature)
    assert ed25519.is_public_key(public) == ed25519_pure.is_public_key(public)


@both
@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_seeds_of_another_length_are_our_own_error(implementation: ModuleType, length: int) -> None:
    with pytest.raises(ValueError):
        implementation.sign(bytes(length), b"")
    with pytest.raises(ValueError):
        implementation.public_key(bytes(length))


@both
def test_buffers_of_any_kind_verify(implementation: ModuleType) -> None:
    seed = bytes(range(32))
    public, signature = implementation.public_key(seed), implementation.sign(seed, b"m")
    assert implementation.verify(bytearray(public), b"m", memoryview(signature))


# What a forger tries: points of small order, second spellings, points outside the prime-order group.


def small_order_points() -> list[Point]:
    """The eight points whose multiple by 8 is the identity, from a point of order 8 found by clearing L."""
    rng = random.Random(8)
    while True:
        y = rng.randrange(P)
        x = _recover_x(y, 0)
        if x is None:
            continue
        torsion = _times(L, (x, y, 1, x * y % P))
        if _encode(_times(4, torsion)) != _encode(_IDENTITY):
            return [_times(n, torsion) for n in range(8)]


def _times(scalar: int, point: Point) -> Point:
    result = _IDENTITY
    for bit in f"{scalar:b}":
        result = _add(result, _cache(result))
        if bit == "1":
            result = _add(result, _cache(point))
    return result


def _flip(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def _int(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _challenge(r: bytes, public: bytes, message: bytes) -> int:
    return _int(hashlib.sha512(r + public + message).digest()) % L


SMALL = small_order_points()


def encodings_of_small_order() -> Iterator[bytes]:
    """All spellings of the eight points, also those with y >= P and with a sign bit for x = 0."""
    for point in SMALL:
        x, y = _int(_encode(point)) >> 255, _int(_encode(point)) & (2**255 - 1)
        for spelling in (y, y + P):
            if spelling < 2**255:
                for sign in {x, 1} if y in (1, P - 1) else {x}:
                    yield (sign << 255 | spelling).to_bytes(32, "little")


@both
def test_no_spelling_of_a_small_order_key_is_a_key_nor_verifies_anything(implementation: ModuleType) -> None:
    spellings = set(encodings_of_small_order())
    assert len(spellings) >= 12
    for public in spellings:
        assert not implementation.is_public_key(public)
        for r in spellings:
            for message in (b"0", b"1", b"2", b"3"):  # one of eight hashes is a multiple of the order
                assert not implementation.verify(public, message, r + bytes(32))


@both
def test_every_y_past_the_prime_is_a_second_spelling_and_refused(implementation: ModuleType) -> None:
    for excess in range(19):
        for sign in (0, 1):
            assert not implementation.is_public_key((sign << 255 | P + excess).to_bytes(32, "little"))


@both
def test_s_plus_l_is_a_second_spelling_of_a_signature_and_refused(implementation: ModuleType) -> None:
    seed = bytes(32)
    public, signature = implementation.public_key(seed), implementation.sign(seed, b"m")
    s = _int(signature[32:])
    assert implementation.verify(public, b"m", signature)
    for forged in (s + L, s + 2 * L, s + 15 * L):
        if forged < 2**256:
            assert not implementation.verify(public, b"m", signature[:32] + forged.to_bytes(32, "little"))


@both
def test_a_small_order_r_is_refused_though_the_equation_holds(implementation: ModuleType) -> None:
    """R = identity and S = h*a: the equation holds, with and without the cofactor."""
    seed = bytes(32)
    scalar, _ = ed25519_pure._expand(seed)
    public, r = implementation.public_key(seed), _encode(_IDENTITY)
    s = _challenge(r, public, b"m") * scalar % L
    assert not implementation.verify(public, b"m", r + s.to_bytes(32, "little"))


@both
@pytest.mark.parametrize("torsion", range(1, 8))
def test_r_outside_the_prime_order_group_is_refused(implementation: ModuleType, torsion: int) -> None:
    """Verifiers with a cofactor accept it, those without do not: two clients would disagree."""
    seed = bytes(32)
    scalar, _ = ed25519_pure._expand(seed)
    public, nonce = implementation.public_key(seed), 12345
    base = _decode(bytes([0x58] + [0x66] * 31))
    assert base is not None
    r = _encode(_add(_times(nonce, base), _cache(SMALL[torsion])))
    s = (nonce + _challenge(r, public, b"m") * scalar) % L
    assert not implementation.verify(public, b"m", r + s.to_bytes(32, "little"))


@both
@pytest.mark.parametrize("torsion", range(1, 8))
def test_a_key_outside_the_prime_order_group_is_refused(implementation: ModuleType, torsion: int) -> None:
    """With A + T the equation holds without the cofactor whenever h is a multiple of T's order."""
    seed = bytes(32)
    scalar, _ = ed25519_pure._expand(seed)
    point = _decode(implementation.public_key(seed))
    assert point is not None
    public = _encode(_add(point, _cache(SMALL[torsion])))
    assert not implementation.is_public_key(public)
    base = _decode(bytes([0x58] + [0x66] * 31))
    assert base is not None
    nonce, messages = 6789, (str(number).encode() for number in range(64))
    r = _encode(_times(nonce, base))
    for message in messages:
        s = (nonce + _challenge(r, public, message) * scalar) % L
        assert not implementation.verify(public, message, r + s.to_bytes(32, "little"))


def test_both_agree_on_random_points_of_every_order() -> None:
    rng = random.Random(25519)
    kinds: dict[bool, int] = {True: 0, False: 0}
    for _ in range(60):
        public = rng.randrange(2**256).to_bytes(32, "little")
        point = _decode(public)
        if point is not None and rng.random() < 0.5:
            public = _encode(_times(8, point))
        verdict = ed25519.is_public_key(public)
        assert verdict == ed25519_pure.is_public_key(public)
        kinds[verdict] += 1
    assert min(kinds.values()) > 5


def test_the_pure_verifier_is_what_is_left_without_pynacl(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util
    import sys

    monkeypatch.setitem(sys.modules, "nacl", None)
    spec = importlib.util.find_spec("pearrt.crypto.ed25519")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert not module.HAVE_SODIUM
    verify: Callable[[bytes, bytes, bytes], bool] = module.verify
    assert verify is ed25519_pure.verify
    assert module.sign is ed25519_pure.sign
