"""The `signed` parts of the four roles as values: every field checked, nothing verified yet (TUF 1.0.34,
section 4).

Stricter than TUF, so that no two readers can disagree (the list is in docs/protocol/trust.md): integers are
no bools, times have one spelling, a key id is the hash of its key, roles name only keys that exist, the
entries of `meta` carry length and sha256, there are no delegations. Unknown fields are covered by the
signature and otherwise ignored. Fields of this profile begin with `x-pearrt-`:

    every role    x-pearrt-app     32 hex digits, random, chosen with root 1: whose metadata this is
    timestamp     x-pearrt-signed  when it was signed, written like `expires`
                  x-pearrt-period  seconds between two heartbeats, 0 where the publisher promises none
                  x-pearrt-root    version of the root that was newest when it was signed
    targets       x-pearrt-revoked releases that should not have been: see revocation.py
    a key         x-pearrt-name    the signer's name, for display only
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pearrt.codec import canonical
from pearrt.crypto import ed25519
from pearrt.crypto.hashes import sha256
from pearrt.errors import ProtocolViolation
from pearrt.trust.envelope import MAX_SIGNATURES, ROLES, Envelope
from pearrt.trust.release import MAX_TARGETS, Release
from pearrt.trust.revocation import Revocation, parse_revocations
from pearrt.trust.shape import HEX_16, HEX_32, Shape

SPEC_VERSION = "1.0.34"
MAX_SIGNER_NAME_CHARS = 64
MAX_KEYS = 64

_SPEC = re.compile(r"([0-9]{1,4})\.[0-9]{1,4}(\.[0-9]{1,4})?")


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


@dataclass(frozen=True, slots=True)
class Meta:
    """What one role says of another role's blob."""

    version: int
    length: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Signed:
    """What all roles share; `read` makes a role of a parsed envelope. `expires` is in seconds since 1970."""

    envelope: Envelope
    app_id: str
    version: int
    expires: float


@dataclass(frozen=True, slots=True)
class Root(Signed):
    authorities: Mapping[str, Authority]

    @classmethod
    def read(cls, envelope: Envelope) -> Root:
        shape, common = _common(envelope)
        if type(shape.value.get("consistent_snapshot")) is not bool:
            raise shape.refuse("consistent_snapshot", "is no bool")
        keys = shape.object("keys")
        if len(keys.value) > MAX_KEYS:
            raise shape.refuse("keys", f"are more than {MAX_KEYS}")
        signers = {keyid: _signer(keyid, keys.object(keyid)) for keyid in keys.value}
        roles = shape.object("roles")
        roles.only(*ROLES)
        authorities = {role: _authority(roles.object(role), signers) for role in ROLES}
        for online in ("timestamp", "snapshot"):
            for offline in ("root", "targets"):
                if authorities[online].signers.keys() & authorities[offline].signers.keys():
                    raise shape.refuse(
                        "roles", f"give {offline} and {online} one key: a heartbeat key could install"
                    )
        return cls(*common, authorities)


@dataclass(frozen=True, slots=True)
class Timestamp(Signed):
    snapshot: Meta
    signed_at: float
    period_s: int
    root_version: int

    @classmethod
    def read(cls, envelope: Envelope) -> Timestamp:
        shape, common = _common(envelope)
        return cls(
            *common,
            snapshot=_meta(shape, "snapshot.json"),
            signed_at=shape.time("x-pearrt-signed"),
            period_s=shape.integer("x-pearrt-period", 0),
            root_version=shape.integer("x-pearrt-root", 1),
        )


@dataclass(frozen=True, slots=True)
class Snapshot(Signed):
    targets: Meta

    @classmethod
    def read(cls, envelope: Envelope) -> Snapshot:
        shape, common = _common(envelope)
        return cls(*common, _meta(shape, "targets.json"))


@dataclass(frozen=True, slots=True)
class Targets(Signed):
    releases: tuple[Release, ...]
    revocations: tuple[Revocation, ...]

    @classmethod
    def read(cls, envelope: Envelope) -> Targets:
        shape, common = _common(envelope)
        if "delegations" in shape.value:
            raise shape.refuse("delegations", "are not part of this profile")
        targets = shape.object("targets")
        if len(targets.value) > MAX_TARGETS:
            raise shape.refuse("targets", f"are more than {MAX_TARGETS}")
        version = common[2]
        found = [Release.parse(path, targets.object(path), version) for path in sorted(targets.value)]
        return cls(*common, tuple(release for release in found if release), parse_revocations(shape))


def _common(envelope: Envelope) -> tuple[Shape, tuple[Envelope, str, int, float]]:
    shape = Shape(envelope.signed, envelope.role)
    spec = _SPEC.fullmatch(shape.match("spec_version", _SPEC))
    if spec is None or spec[1] != "1":
        raise ProtocolViolation(
            f"The {envelope.role} metadata follows version {spec[0] if spec else 0} of The Update Framework;"
            " this pearrt knows version 1.",
            hint="Update pearrt.",
        )
    app_id = shape.match("x-pearrt-app", HEX_16)
    return shape, (envelope, app_id, shape.integer("version", 1), shape.time("expires"))


def _signer(keyid: str, key: Shape) -> Signer:
    if key.value.keys() - {"x-pearrt-name"} != {"keytype", "scheme", "keyval"}:
        raise ProtocolViolation(f"{key.name} must have the fields keytype, scheme and keyval")
    if (key.value["keytype"], key.value["scheme"]) != ("ed25519", "ed25519"):
        raise ProtocolViolation(f"{key.name} is no Ed25519 key")
    keyval = key.object("keyval")
    keyval.only("public")
    public = bytes.fromhex(keyval.match("public", HEX_32))
    if key_id(public) != keyid:
        raise ProtocolViolation(f"{key.name} stands under an id that is not its hash")
    if not ed25519.is_public_key(public):
        raise ProtocolViolation(
            f"{key.name} is of small order or no point of the curve: anyone could sign with it"
        )
    name = key.words("x-pearrt-name", MAX_SIGNER_NAME_CHARS) if "x-pearrt-name" in key.value else ""
    return Signer(public, name)


def _authority(role: Shape, signers: Mapping[str, Signer]) -> Authority:
    role.only("keyids", "threshold")
    keyids = role.strings("keyids", HEX_32, MAX_KEYS)
    if len(set(keyids)) != len(keyids):
        raise role.refuse("keyids", "name a key twice")
    if not signers.keys() >= set(keyids):
        raise role.refuse("keyids", "name a key that is not in `keys`")
    threshold = role.integer("threshold", 1)
    if threshold > min(len(keyids), MAX_SIGNATURES):
        raise role.refuse("threshold", "is higher than its keys can reach")
    return Authority({keyid: signers[keyid] for keyid in keyids}, threshold)


def _meta(shape: Shape, name: str) -> Meta:
    files = shape.object("meta")
    files.only(name)
    entry = files.object(name)
    entry.only("version", "length", "hashes")
    hashes = entry.object("hashes")
    hashes.only("sha256")
    digest = bytes.fromhex(hashes.match("sha256", HEX_32))
    return Meta(entry.integer("version", 1), entry.integer("length", 0), digest)
