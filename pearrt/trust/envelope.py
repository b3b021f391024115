"""A signed blob of TUF metadata: {"signatures": [{"keyid", "sig"}], "signed": {…}} (TUF 1.0.34, section 4.2).

Signatures are made over the canonical form of the parsed `signed`, as in TUF, so the blob's own white space
is free. Nothing else about it is: the size is checked before parsing, and every field, length and spelling is
fixed. (Outside this product's profile, fields that nobody knows are left alone.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pearrt.codec import canonical
from pearrt.errors import LimitExceeded, ProtocolViolation
from pearrt.trust.profile import PEARRT, Profile

ROLES = ("root", "timestamp", "snapshot", "targets")
MAX_BYTES = PEARRT.max_bytes
MAX_SIGNATURES = 16

_HEX_32 = re.compile(r"[0-9a-f]{64}")
_HEX_64 = re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed, not yet verified blob. The signatures, 64 bytes by key id, cover `payload`.

    `role` is its type, `name` what messages call it: a delegated role is of type targets, with a name of its
    own.
    """

    role: str
    raw: bytes
    payload: bytes
    signed: dict[str, Any]
    signatures: dict[str, bytes]
    name: str
    profile: Profile

    @classmethod
    def parse(
        cls, role: str, raw: bytes, *, name: str = "", max_bytes: int = 0, profile: Profile = PEARRT
    ) -> Envelope:
        """Raises LimitExceeded past `max_bytes`, by default the role's, ProtocolViolation for malformed or
        another role's."""
        name = name or role
        value = canonical.parse(raw, max_bytes=max_bytes or profile.max_bytes[role])
        if not isinstance(value, dict) or not _has(value, {"signatures", "signed"}, profile):
            raise ProtocolViolation(f"{name} metadata is no object of `signatures` and `signed`")
        signed = value["signed"]
        if not isinstance(signed, dict):
            raise ProtocolViolation(f"{name} metadata: `signed` is no object")
        if signed.get("_type") != role:
            raise ProtocolViolation(f"{name} metadata expected, got {str(signed.get('_type'))[:20]!r}")
        signatures = _signatures(name, value["signatures"], profile)
        return cls(role, raw, canonical.encode(signed), signed, signatures, name, profile)


def _has(value: dict[str, Any], fields: set[str], profile: Profile) -> bool:
    return value.keys() == fields if profile.strict else value.keys() >= fields


def _signatures(role: str, value: Any, profile: Profile) -> dict[str, bytes]:
    if not isinstance(value, list):
        raise ProtocolViolation(f"{role} metadata: `signatures` is no list")
    if len(value) > MAX_SIGNATURES:
        raise LimitExceeded(
            f"{role} metadata has {len(value)} signatures, at most {MAX_SIGNATURES} are allowed"
        )
    result: dict[str, bytes] = {}
    for item in value:
        if not isinstance(item, dict) or not _has(item, {"keyid", "sig"}, profile):
            raise ProtocolViolation(f"{role} metadata: a signature is no object of `keyid` and `sig`")
        keyid, sig = item["keyid"], item["sig"]
        if not (isinstance(keyid, str) and _HEX_32.fullmatch(keyid)):
            raise ProtocolViolation(f"{role} metadata: a key id is not 64 small hex digits")
        if not (isinstance(sig, str) and _HEX_64.fullmatch(sig)):
            if not profile.strict and isinstance(sig, str):
                continue  # another kind of key made it: nobody here can check it, so it counts for nothing
            raise ProtocolViolation(f"{role} metadata: a signature is not 128 small hex digits")
        if keyid in result:
            raise ProtocolViolation(f"{role} metadata: two signatures by key {keyid[:8]}")
        result[keyid] = bytes.fromhex(sig)
    return result


def seal(payload: bytes, signatures: dict[str, bytes]) -> bytes:
    """The blob of a canonical payload and signatures by key id: the inverse of `Envelope.parse`."""
    listed = [{"keyid": keyid, "sig": sig.hex()} for keyid, sig in sorted(signatures.items())]
    return b'{"signatures":' + canonical.encode(listed) + b',"signed":' + canonical.as_json(payload) + b"}"
