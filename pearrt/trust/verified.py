"""One metadata set under a verified root: rules 2, 4 and 5 of `app.py`; what was trusted before has no part.

Each blob is checked against the one that names it before it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pearrt.errors import TrustError
from pearrt.trust.checks import check_blob, check_named
from pearrt.trust.envelope import Envelope
from pearrt.trust.log import check_logs
from pearrt.trust.metadata import Root, Snapshot, Targets, Timestamp
from pearrt.trust.metadata_set import MAX_CHANNEL_BYTES, MetadataSet
from pearrt.trust.threshold import check_threshold

_Role = TypeVar("_Role", Timestamp, Snapshot, Targets)
Verified = tuple[Timestamp, Snapshot, Targets, float, Mapping[str, Targets]]


def verified(root: Root, metadata: MetadataSet, time_floor: float) -> Verified:
    """The last fields of a TrustedApp. Raises TrustError, RemoteError."""
    timestamp = _signed_by(root, Timestamp, Envelope.parse("timestamp", metadata.timestamp))
    if timestamp.root_version > root.version:
        raise TrustError(
            f"The timestamp was signed under root {timestamp.root_version}; the roots end at {root.version}."
        )
    check_blob("snapshot", metadata.snapshot, timestamp.snapshot)
    snapshot = _signed_by(root, Snapshot, Envelope.parse("snapshot", metadata.snapshot))
    check_named(snapshot, timestamp.snapshot)
    check_blob("targets", metadata.targets, snapshot.targets)
    targets = _signed_by(root, Targets, Envelope.parse("targets", metadata.targets))
    check_named(targets, snapshot.targets)
    channels = _verified_channels(root, metadata, snapshot, targets)
    check_logs([each.envelope for each in (targets, *channels.values())], metadata.logs)
    return timestamp, snapshot, targets, time_floor, channels


def _verified_channels(
    root: Root, metadata: MetadataSet, snapshot: Snapshot, targets: Targets
) -> dict[str, Targets]:
    """The metadata of exactly the channels that targets delegate, each as the snapshot names it."""
    if metadata.delegated.keys() != {delegation.name for delegation in targets.delegations}:
        raise TrustError("The metadata set does not hold exactly the channels that its targets delegate.")
    online = root.authorities["timestamp"].signers.keys() | root.authorities["snapshot"].signers.keys()
    found = {}
    for delegation in targets.delegations:
        name, raw = delegation.name, metadata.delegated[delegation.name]
        if delegation.authority.signers.keys() & online:
            raise TrustError(f"The channel {name} has the heartbeat's key: a heartbeat could install.")
        if root.witnesses and delegation.authority.signers.keys() & root.witnesses.signers.keys():
            raise TrustError(f"The channel {name} has a witness's key: nobody is their own witness.")
        named = snapshot.files.get(f"{name}.json")
        if named is None:
            raise TrustError(f"The snapshot does not name the metadata of the channel {name}.")
        check_blob(name, raw, named)
        envelope = Envelope.parse("targets", raw, name=name, max_bytes=MAX_CHANNEL_BYTES)
        check_threshold(envelope, delegation.authority)
        found[name] = read_role(Targets, envelope, root)
        check_named(found[name], named)
        if found[name].version < delegation.since:
            raise TrustError(f"The {name} metadata is older than the channel.")
    return found


def _signed_by(root: Root, kind: type[_Role], envelope: Envelope) -> _Role:
    check_threshold(envelope, root.authorities[envelope.role])
    return read_role(kind, envelope, root)


def read_role(kind: type[_Role], envelope: Envelope, root: Root) -> _Role:
    """The role in an envelope with checked signatures. Raises TrustError where it is another app's."""
    role = kind.read(envelope)
    if role.app_id != root.app_id:
        raise TrustError(f"The {envelope.name} metadata belongs to another app.")
    return role
