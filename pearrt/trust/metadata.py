"""The `signed` parts of the four roles as values: every field checked, nothing verified yet (TUF 1.0.34,
section 4).

Stricter than TUF, so that no two readers can disagree (the list is in docs/protocol/trust.md): integers are
no bools, times have one spelling, a key id is the hash of its key, roles name only keys that exist, the
entries of `meta` carry length and sha256, delegations are channels. Unknown fields are covered by the
signature and otherwise ignored. Fields of this profile begin with `x-pearrt-`:

    every role    x-pearrt-app     32 hex digits, random, chosen with root 1: whose metadata this is
    timestamp     x-pearrt-signed  when it was signed, written like `expires`
                  x-pearrt-period  seconds between two heartbeats, 0 where the publisher promises none
                  x-pearrt-root    version of the root that was newest when it was signed
    targets       x-pearrt-revoked releases that should not have been: see revocation.py
                  x-pearrt-log     the head of the log of all that was said before: see log.py
    a delegation  x-pearrt-since   the version with which the channel's own metadata began: see delegation.py
    root          x-pearrt-witnesses  who has to have seen what is released: see witness.py
    a key         x-pearrt-name    the signer's name, for display only

An envelope that was parsed outside the profile is read by TUF's own rules, without these fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pearrt.errors import ProtocolViolation
from pearrt.trust.authority import Authority, Signer, key_id, read_authority, read_signers
from pearrt.trust.delegation import Delegation, is_channel, read_delegations
from pearrt.trust.envelope import ROLES, Envelope
from pearrt.trust.release import MAX_TARGETS, Release
from pearrt.trust.revocation import FIELD as REVOKED
from pearrt.trust.revocation import Revocation, parse_revocations
from pearrt.trust.shape import HEX_16, HEX_32, Shape
from pearrt.trust.witness import parse_witnesses

__all__ = [
    "SPEC_VERSION",
    "Authority",
    "Meta",
    "Root",
    "Signed",
    "Signer",
    "Snapshot",
    "Targets",
    "Timestamp",
    "key_id",
]

SPEC_VERSION = "1.0.34"
MAX_SNAPSHOT_FILES = 64
TARGETS_FILE = "targets.json"

_SPEC = re.compile(r"([0-9]{1,4})\.[0-9]{1,4}(\.[0-9]{1,4})?")


@dataclass(frozen=True, slots=True)
class Meta:
    """What one role says of another role's blob. Outside the profile, length and SHA-256 may be unsaid."""

    version: int
    length: int | None
    digest: bytes | None


@dataclass(frozen=True, slots=True)
class Signed:
    """What all roles share; `read` makes a role of a parsed envelope. `expires` is in seconds since 1970."""

    envelope: Envelope
    app_id: str
    version: int
    expires: float


@dataclass(frozen=True, slots=True)
class Root(Signed):
    """`witnesses`: who has to have seen releases and later roots; None where nobody has to."""

    authorities: Mapping[str, Authority]
    consistent_snapshot: bool = False
    witnesses: Authority | None = None

    @classmethod
    def read(cls, envelope: Envelope) -> Root:
        shape, common = _common(envelope)
        consistent = shape.value.get("consistent_snapshot", None if envelope.profile.strict else False)
        if type(consistent) is not bool:
            raise shape.refuse("consistent_snapshot", "is no bool")
        signers = read_signers(shape, envelope.profile)
        roles = shape.object("roles")
        roles.only(*ROLES)
        authorities = {role: _authority(roles.object(role), signers, envelope) for role in ROLES}
        if not envelope.profile.strict:
            return cls(*common, authorities, consistent)
        _keep_heartbeat_apart(shape, authorities)
        return cls(*common, authorities, consistent, parse_witnesses(shape, authorities))


@dataclass(frozen=True, slots=True)
class Timestamp(Signed):
    snapshot: Meta
    signed_at: float
    period_s: int
    root_version: int

    @classmethod
    def read(cls, envelope: Envelope) -> Timestamp:
        shape, common = _common(envelope)
        files = shape.object("meta")
        files.only("snapshot.json")
        snapshot = _meta(files, "snapshot.json", envelope)
        if not envelope.profile.strict:
            return cls(*common, snapshot, 0.0, 0, 0)
        return cls(
            *common,
            snapshot=snapshot,
            signed_at=shape.time("x-pearrt-signed"),
            period_s=shape.integer("x-pearrt-period", 0),
            root_version=shape.integer("x-pearrt-root", 1),
        )


@dataclass(frozen=True, slots=True)
class Snapshot(Signed):
    """`files`: what it says of the targets metadata and of every delegated role's, by file name.

    A name that was listed once stays listed, so that a channel that comes back can't come back older.
    """

    files: Mapping[str, Meta]

    @property
    def targets(self) -> Meta:
        return self.files[TARGETS_FILE]

    @classmethod
    def read(cls, envelope: Envelope) -> Snapshot:
        shape, common = _common(envelope)
        files = shape.object("meta")
        if TARGETS_FILE not in files.value:
            raise shape.refuse("meta", f"lacks {TARGETS_FILE}")
        if envelope.profile.strict:
            if len(files.value) > MAX_SNAPSHOT_FILES:
                raise shape.refuse("meta", f"names more than {MAX_SNAPSHOT_FILES} files")
            for name in files.value.keys() - {TARGETS_FILE}:
                if not (name.endswith(".json") and is_channel(name.removesuffix(".json"))):
                    raise shape.refuse("meta", "names a file that is no channel's")
        return cls(*common, {name: _meta(files, name, envelope) for name in files.value})


@dataclass(frozen=True, slots=True)
class Targets(Signed):
    """Of the targets role, or of a channel with signers of its own, which neither delegates nor revokes."""

    releases: tuple[Release, ...] = ()
    revocations: tuple[Revocation, ...] = ()
    delegations: tuple[Delegation, ...] = ()

    @classmethod
    def read(cls, envelope: Envelope) -> Targets:
        shape, common = _common(envelope)
        targets = shape.object("targets")
        delegations = read_delegations(shape, envelope.profile)
        if not envelope.profile.strict:
            return cls(*common, delegations=delegations)
        if len(targets.value) > MAX_TARGETS:
            raise shape.refuse("targets", f"are more than {MAX_TARGETS}")
        version = common[2]
        found = [Release.parse(path, targets.object(path), version) for path in sorted(targets.value)]
        releases = tuple(release for release in found if release)
        if envelope.name == envelope.role:
            _keep_channels_apart(shape, delegations)
        elif shape.value.keys() & {"delegations", REVOKED}:
            raise shape.refuse("delegations", f"and `{REVOKED}` are for the targets role alone")
        elif any(not path.startswith(f"{envelope.name}/") for path in targets.value) or None in found:
            raise shape.refuse("targets", f"are not all releases of the channel {envelope.name}")
        return cls(*common, releases, parse_revocations(shape), delegations)


def _keep_heartbeat_apart(root: Shape, authorities: Mapping[str, Authority]) -> None:
    for online in ("timestamp", "snapshot"):
        for offline in ("root", "targets"):
            if authorities[online].signers.keys() & authorities[offline].signers.keys():
                raise root.refuse(
                    "roles", f"give {offline} and {online} one key: a heartbeat key could install"
                )


def _keep_channels_apart(targets: Shape, delegations: tuple[Delegation, ...]) -> None:
    """A path has one speaker: who delegates a channel no longer says anything in it."""
    for delegation in delegations:
        if any(path.startswith(f"{delegation.name}/") for path in targets.value["targets"]):
            raise targets.refuse("targets", f"and a delegation both speak for {delegation.name}")


def _common(envelope: Envelope) -> tuple[Shape, tuple[Envelope, str, int, float]]:
    shape = Shape(envelope.signed, envelope.name)
    spec = _SPEC.fullmatch(shape.match("spec_version", _SPEC))
    if spec is None or spec[1] != "1":
        raise ProtocolViolation(
            f"The {envelope.name} metadata follows version {spec[0] if spec else 0} of The Update Framework;"
            " this pearrt knows version 1.",
            hint="Update pearrt.",
        )
    app_id = shape.match("x-pearrt-app", HEX_16) if envelope.profile.strict else ""
    return shape, (envelope, app_id, shape.integer("version", 1), shape.time("expires"))


def _authority(role: Shape, signers: Mapping[str, Signer], envelope: Envelope) -> Authority:
    if envelope.profile.strict:
        role.only("keyids", "threshold")
    return read_authority(role, signers, envelope.profile)


def _meta(files: Shape, name: str, envelope: Envelope) -> Meta:
    entry = files.object(name)
    version = entry.integer("version", 1)
    if envelope.profile.strict:
        entry.only("version", "length", "hashes")
        entry.object("hashes").only("sha256")
    length = entry.integer("length", 0) if "length" in entry.value else None
    if "hashes" not in entry.value:
        return Meta(version, length, None)
    return Meta(version, length, bytes.fromhex(entry.object("hashes").match("sha256", HEX_32)))
