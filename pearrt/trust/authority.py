"""Who may sign: keys, their ids, and thresholds over them (TUF 1.0.34, section 4.2 and 4.3).

A key id is the hash of its key, so that a threshold counts keys. Only Ed25519 keys sign here. (Outside this
product's profile ids are free, and it is still public keys that are counted.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pearrt.codec import canonical
from pearrt.crypto import ed25519
from pearrt.crypto.hashes import sha256
from pearrt.errors import ProtocolViolation
from pearrt.trust.envelope import MAX_SIGNATURES
from pearrt.trust.profile import Profile
from pearrt.trust.shape import HEX_32, Shape

MAX_SIGNER_NAME_CHARS = 64
MAX_KEYS = 64


@dataclass(frozen=True, slots=True)
class Signer:
    """A public key (32 bytes) and the name its publisher gave it, which is for display only."""

    public: bytes
    name: str = ""

    @property
    def keyid(self) -> str:
        """SHA-256 of the canonical key object, as securesystemslib computes it."""
        return key_id(self.public)


def key_id(public: bytes) -> str:
    """The TUF key id of an Ed25519 public key: 64 hex digits."""
    keyval = {"public": public.hex()}
    return sha256(canonical.encode({"keytype": "ed25519", "scheme": "ed25519", "keyval": keyval})).hex()


@dataclass(frozen=True, slots=True)
class Authority:
    """Who may sign a role: signers by key id, and how many of them it takes."""

    signers: Mapping[str, Signer]
    threshold: int


def key_fields(signer: Signer) -> dict[str, Any]:
    """The entry of `keys` that `read_signers` reads."""
    key: dict[str, Any] = {
        "keytype": "ed25519",
        "scheme": "ed25519",
        "keyval": {"public": signer.public.hex()},
    }
    return key | {"x-pearrt-name": signer.name} if signer.name else key


def read_signers(shape: Shape, profile: Profile) -> dict[str, Signer]:
    """The field `keys` of a root or of delegations, by key id. Raises ProtocolViolation."""
    keys = shape.object("keys")
    if len(keys.value) > MAX_KEYS:
        raise shape.refuse("keys", f"are more than {MAX_KEYS}")
    found = {keyid: _signer(keyid, keys.object(keyid), profile) for keyid in keys.value}
    return {keyid: signer for keyid, signer in found.items() if signer is not None}


def read_authority(role: Shape, signers: Mapping[str, Signer], profile: Profile) -> Authority:
    """The `keyids` and `threshold` of a role. Raises ProtocolViolation.

    Outside the profile, ids of keys that are not there or not of Ed25519 stay, but nobody signs for them.
    """
    keyids = role.strings("keyids", HEX_32, MAX_KEYS)
    if len(set(keyids)) != len(keyids):
        raise role.refuse("keyids", "name a key twice")
    threshold = role.integer("threshold", 1)
    if profile.strict:
        if not signers.keys() >= set(keyids):
            raise role.refuse("keyids", "name a key that is not in `keys`")
        if threshold > min(len(keyids), MAX_SIGNATURES):
            raise role.refuse("threshold", "is higher than its keys can reach")
    return Authority({keyid: signers[keyid] for keyid in keyids if keyid in signers}, threshold)


def _signer(keyid: str, key: Shape, profile: Profile) -> Signer | None:
    """None for a key of another kind, which the profile refuses."""
    if profile.strict and key.value.keys() - {"x-pearrt-name"} != {"keytype", "scheme", "keyval"}:
        raise ProtocolViolation(f"{key.name} must have the fields keytype, scheme and keyval")
    if (key.value.get("keytype"), key.value.get("scheme")) != ("ed25519", "ed25519"):
        if not profile.strict:
            return None
        raise ProtocolViolation(f"{key.name} is no Ed25519 key")
    keyval = key.object("keyval")
    if profile.strict:
        keyval.only("public")
    public = bytes.fromhex(keyval.match("public", HEX_32))
    if profile.strict and key_id(public) != keyid:
        raise ProtocolViolation(f"{key.name} stands under an id that is not its hash")
    if not ed25519.is_public_key(public):
        raise ProtocolViolation(
            f"{key.name} is of small order or no point of the curve: anyone could sign with it"
        )
    named = profile.strict and "x-pearrt-name" in key.value
    return Signer(public, key.words("x-pearrt-name", MAX_SIGNER_NAME_CHARS) if named else "")
