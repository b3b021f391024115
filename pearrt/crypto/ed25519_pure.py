"""Ed25519 (RFC 8032) from the standard library alone, for where PyNaCl is absent: the bootstrapper.

Verification takes about 1.5 ms. It is strict in every place where implementations differ, and gives the same
answer as `ed25519.py` over PyNaCl for every input:

- S < L (no second spelling of a signature), y of A and R < p (no second spelling of a point),
- A is a point of the prime-order group, which leaves out the small-order keys that sign anything,
- R is not of small order, and R = S*B - h*A holds exactly, without the cofactor.

Signing does not run in constant time. Whoever signs on a machine that others share wants PyNaCl.
Points are (X, Y, Z, T) in extended coordinates with x = X/Z, y = Y/Z, xy = T/Z (Hisil et al., 2008).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TypeAlias

Point: TypeAlias = tuple[int, int, int, int]
Cached: TypeAlias = tuple[int, int, int, int]  # (Y+X, Y-X, 2Z, 2dT): the form in which a point is added

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
_SQRT_M1 = pow(2, (P - 1) // 4, P)
_IDENTITY: Point = (0, 1, 1, 0)
_WINDOW = 5
_BASE_WINDOW = 7


def _double(point: Point) -> Point:
    x, y, z, _ = point
    a = x * x
    b = y * y
    c = 2 * z * z
    h = a + b
    e = h - (x + y) * (x + y)
    g = a - b
    f = c + g
    return e * f % P, g * h % P, f * g % P, e * h % P


def _cache(point: Point) -> Cached:
    x, y, z, t = point
    return y + x, y - x, 2 * z, 2 * D * t % P


def _add(point: Point, other: Cached) -> Point:
    x, y, z, t = point
    plus, minus, z2, t2 = other
    a = (y - x) * minus
    b = (y + x) * plus
    c = t * t2
    d = z * z2
    e = b - a
    f = d - c
    g = d + c
    h = b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _negate(cached: Cached) -> Cached:
    plus, minus, z2, t2 = cached
    return minus, plus, z2, -t2


def _odd_multiples(point: Point, window: int) -> list[Cached]:
    """1, 3, 5, … 2^(window-1)-1 times the point."""
    twice = _cache(_double(point))
    table = [_cache(point)]
    for _ in range((1 << (window - 2)) - 1):
        point = _add(point, twice)
        table.append(_cache(point))
    return table


def _signed_digits(scalar: int, window: int) -> list[tuple[int, int]]:
    """The non-adjacent form of width `window`: (bit position, odd digit) pairs, lowest first."""
    digits = []
    position = 0
    full, half = 1 << window, 1 << (window - 1)
    while scalar:
        zeros = (scalar & -scalar).bit_length() - 1
        scalar >>= zeros
        position += zeros
        digit = scalar & (full - 1)
        if digit >= half:
            digit -= full
        digits.append((position, digit))
        scalar -= digit
    return digits


def _multiply(*terms: tuple[int, list[Cached], int]) -> Point:
    """The sum of scalar * point over `terms` (scalar, odd multiples, their window), by Straus' trick."""
    steps: dict[int, list[Cached]] = {}
    for scalar, table, window in terms:
        for position, digit in _signed_digits(scalar, window):
            entry = table[digit >> 1] if digit > 0 else _negate(table[-digit >> 1])
            steps.setdefault(position, []).append(entry)
    result = _IDENTITY
    for position in range(max(steps, default=-1), -1, -1):
        result = _double(result)
        for entry in steps.get(position, ()):
            result = _add(result, entry)
    return result


def _recover_x(y: int, sign: int) -> int | None:
    """The x of a point with this y and parity (RFC 8032, 5.1.3), None where there is none."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * _SQRT_M1 % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


def _decode(data: bytes) -> Point | None:
    """The point of a canonical 32-byte encoding, None for anything else."""
    number = int.from_bytes(data, "little")
    y, sign = number & ((1 << 255) - 1), number >> 255
    if y >= P:
        return None
    x = _recover_x(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def _encode(point: Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, -1, P)
    return ((x * inverse % P & 1) << 255 | y * inverse % P).to_bytes(32, "little")


@lru_cache(maxsize=1)
def _base() -> list[Cached]:
    y = 4 * pow(5, -1, P) % P
    x = _recover_x(y, 0)
    assert x is not None
    return _odd_multiples((x, y, 1, x * y % P), _BASE_WINDOW)


def _is_identity(point: Point) -> bool:
    x, y, z, _ = point
    return x % P == 0 and (y - z) % P == 0


@lru_cache(maxsize=256)
def _key_table(public: bytes) -> list[Cached] | None:
    """The odd multiples of a public key, None where it is no point of the prime-order group."""
    point = _decode(public) if len(public) == 32 else None
    if point is None or _is_identity(point):
        return None
    table = _odd_multiples(point, _WINDOW)
    return table if _is_identity(_multiply((L, table, _WINDOW))) else None


def is_public_key(public: bytes) -> bool:
    """Whether `public` is the canonical encoding of a point of the prime-order group but its identity."""
    return _key_table(bytes(public)) is not None


def _hash(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little")


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) of `message` is valid under `public` (32), by the strict rules."""
    if len(signature) != 64:
        return False
    table = _key_table(bytes(public))
    r, s = bytes(signature[:32]), int.from_bytes(signature[32:], "little")
    if table is None or s >= L:
        return False
    h = _hash(r, public, message) % L
    # R may not be of small order: the identity is the only such point that the exact equation can give.
    expected = _multiply((s, _base(), _BASE_WINDOW), (L - h, table, _WINDOW))
    return not _is_identity(expected) and _encode(expected) == r


def _expand(seed: bytes) -> tuple[int, bytes]:
    if len(seed) != 32:
        raise ValueError("an Ed25519 seed has 32 bytes")
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | 1 << 254
    return scalar, digest[32:]


def public_key(seed: bytes) -> bytes:
    """The 32-byte public key of a 32-byte seed. Raises ValueError for another length."""
    scalar, _ = _expand(seed)
    return _encode(_multiply((scalar, _base(), _BASE_WINDOW)))


def sign(seed: bytes, message: bytes) -> bytes:
    """The 64-byte signature of `message` (RFC 8032, 5.1.6). Raises ValueError for another length of seed."""
    scalar, prefix = _expand(seed)
    public = _encode(_multiply((scalar, _base(), _BASE_WINDOW)))
    nonce = _hash(prefix, message) % L
    r = _encode(_multiply((nonce, _base(), _BASE_WINDOW)))
    s = (nonce + _hash(r, public, message) * scalar) % L
    return r + s.to_bytes(32, "little")
