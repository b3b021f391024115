"""Node ids: 160-bit numbers under the XOR metric (BEP 5), tied to the address of their node (BEP 42).

BEP 42: the first 21 bits of an id are those of CRC32-C over the masked IP address and the low 3 bits of the
id's last byte, so that nobody can choose a place next to a key at will. Nodes on local networks are exempt.
"""

from __future__ import annotations

import ipaddress
import random
from functools import lru_cache

from pearrt.dht.contact import ID_BYTES, Scope, scope_of

ID_BITS = ID_BYTES * 8
_MASK_V4 = bytes.fromhex("030f3fff")
_MASK_V6 = bytes.fromhex("0103070f1f3f7fff")
_CASTAGNOLI = 0x82F63B78


def distance(a: bytes, b: bytes) -> int:
    """The XOR distance of two ids or targets."""
    return int.from_bytes(a) ^ int.from_bytes(b)


def random_id(rng: random.Random) -> bytes:
    """A uniformly random id."""
    return rng.getrandbits(ID_BITS).to_bytes(ID_BYTES)


def id_with_prefix(own_id: bytes, shared_bits: int, rng: random.Random) -> bytes:
    """A random id that shares exactly its first `shared_bits` bits (0 to 159) with `own_id`."""
    low_bits = ID_BITS - shared_bits - 1
    number = (int.from_bytes(own_id) >> low_bits ^ 1) << low_bits | rng.getrandbits(ID_BITS) & (
        1 << low_bits
    ) - 1
    return number.to_bytes(ID_BYTES)


def secure_id(host: str, rng: random.Random) -> bytes:
    """A random id that is valid for the IP literal `host` (BEP 42)."""
    salt = rng.getrandbits(8)
    crc = _id_prefix(host, salt & 7)
    head = crc & 0xFFFFF800 | rng.getrandbits(11)
    return head.to_bytes(4) + rng.randbytes(15) + bytes([salt])


def is_secure(node_id: bytes, host: str) -> bool:
    """Whether `node_id` is valid for the IP literal `host`; local networks are exempt (BEP 42)."""
    if scope_of(host) is not Scope.PUBLIC:
        return True
    return (int.from_bytes(node_id[:4]) ^ _id_prefix(host, node_id[19] & 7)) & 0xFFFFF800 == 0


@lru_cache(maxsize=4096)
def _id_prefix(host: str, salt: int) -> int:
    packed = ipaddress.ip_address(host).packed
    mask = _MASK_V4 if len(packed) == 4 else _MASK_V6
    masked = bytearray(byte & bits for byte, bits in zip(packed, mask, strict=False))
    masked[0] |= salt << 5
    return crc32c(bytes(masked))


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), as BEP 42 uses it. The standard library has only the other polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CASTAGNOLI if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
