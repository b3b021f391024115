"""The hash functions of pearrt, each domain separated by a tag that ends in NUL."""

from __future__ import annotations

import hashlib
import hmac

DIGEST_BYTES = 32


def sha256(data: bytes | bytearray | memoryview) -> bytes:
    """SHA-256, 32 bytes: ids of blocks, digests of files and indexes."""
    return hashlib.sha256(data).digest()


def tagged(tag: str, data: bytes) -> bytes:
    """SHA-256(tag + NUL + data): app keys, topics, checksums."""
    return hashlib.sha256(tag.encode() + b"\0" + data).digest()


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256 (RFC 2104), 32 bytes."""
    return hmac.digest(key, data, "sha256")
