"""A new app: its first root, whose hash is the app key, and targets metadata that names no release yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pearrt.crypto.keyfile import PublicKey
from pearrt.errors import UserError
from pearrt.publish.draft import Draft, payload
from pearrt.trust.authority import key_fields
from pearrt.trust.envelope import MAX_SIGNATURES
from pearrt.trust.log import FIELD as LOG
from pearrt.trust.log import empty_head, head_fields
from pearrt.trust.metadata import Authority, Signer
from pearrt.trust.root_chain import app_key_of
from pearrt.trust.witness import FIELD as WITNESSES
from pearrt.trust.witness import MAX_WITNESSES, witness_fields

APP_ID_BYTES = 16
OFFLINE_LIFETIME_S = 5 * 365 * 86400.0  # of root and targets, which take a meeting of signers to renew


@dataclass(frozen=True, slots=True)
class NewApp:
    """Both drafts want the threshold's signatures; then `Publication.create` makes it an app."""

    app_key: bytes
    root: Draft
    targets: Draft


def new_app(
    signers: Sequence[PublicKey],
    threshold: int,
    *,
    heartbeat: bytes,
    app_id: bytes,
    now: float,
    witnesses: Authority | None = None,
) -> NewApp:
    """Drafts for an app that `threshold` of `signers` control together; one signer and threshold 1 will do.

    `heartbeat` is the public key of the snapshot and timestamp roles; `app_id` is 16 random bytes;
    `witnesses` are those of `witnesses_of`. Raises UserError for a threshold that can't be met, a signer
    named twice or the heartbeat key as a signer.
    """
    if len(app_id) != APP_ID_BYTES:
        raise ValueError(f"an app id has {APP_ID_BYTES} bytes")
    roles = roles_of(signers, threshold, heartbeat)
    root = root_draft(app_id.hex(), 1, roles, now, witnesses=witnesses)
    fields: dict[str, Any] = {"targets": {}, LOG: head_fields(empty_head())}
    targets = payload("targets", app_id.hex(), 1, now + OFFLINE_LIFETIME_S, **fields)
    return NewApp(app_key_of(root.payload), root, Draft("targets", 1, targets, (roles["targets"],)))


def roles_of(signers: Sequence[PublicKey], threshold: int, heartbeat: bytes) -> dict[str, Authority]:
    """Root and targets for the signers, snapshot and timestamp for the heartbeat. Raises UserError."""
    if not 1 <= len(signers) <= MAX_SIGNATURES:
        raise UserError(f"An app has 1 to {MAX_SIGNATURES} signers.")
    if not 1 <= threshold <= len(signers):
        raise UserError(f"A threshold of {threshold} does not fit {len(signers)} signers.")
    if len({signer.key for signer in signers} | {heartbeat}) <= len(signers):
        raise UserError("A key is named twice among the signers and the heartbeat.")
    team = authority([Signer(signer.key, signer.comment) for signer in signers], threshold)
    online = authority([Signer(heartbeat, "heartbeat")], 1)
    return {"root": team, "targets": team, "snapshot": online, "timestamp": online}


def witnesses_of(keys: Sequence[PublicKey], threshold: int) -> Authority:
    """Witnesses of whom `threshold`, by default more than half, have to see every release.

    Raises UserError where two quorums would share nobody, or a key is named twice.
    """
    if not 1 <= len(keys) <= MAX_WITNESSES:
        raise UserError(f"An app has 1 to {MAX_WITNESSES} witnesses.")
    threshold = threshold or len(keys) // 2 + 1
    if not len(keys) < 2 * threshold <= 2 * len(keys):
        raise UserError(
            f"A threshold of {threshold} does not fit {len(keys)} witnesses.",
            hint="It takes more than half of them: otherwise two groups could be shown two histories.",
        )
    if len({key.key for key in keys}) < len(keys):
        raise UserError("A key is named twice among the witnesses.")
    return authority([Signer(key.key, key.comment) for key in keys], threshold)


def check_apart(roles: Mapping[str, Authority], witnesses: Authority) -> None:
    """Raises UserError where a witness signs for the app as well."""
    for role in roles.values():
        if both := role.signers.keys() & witnesses.signers.keys():
            name = role.signers[min(both)].name or min(both)[:8]
            raise UserError(
                f"{name} signs for the app: nobody is their own witness.", hint="Name a key of somebody else."
            )


def authority(signers: Sequence[Signer], threshold: int) -> Authority:
    """`threshold` of these signers."""
    return Authority({signer.keyid: signer for signer in signers}, threshold)


def root_draft(
    app_id: str,
    version: int,
    roles: Mapping[str, Authority],
    now: float,
    previous: Authority | None = None,
    *,
    witnesses: Authority | None = None,
) -> Draft:
    """A root. `previous` are the signers of the root before it, who must sign this one too.

    Raises UserError where a witness signs for the app as well.
    """
    keys = {keyid: key_fields(signer) for role in roles.values() for keyid, signer in role.signers.items()}
    fields: dict[str, Any] = {
        "consistent_snapshot": False,
        "keys": keys,
        "roles": {
            name: {"keyids": list(role.signers), "threshold": role.threshold} for name, role in roles.items()
        },
    }
    if witnesses is not None:
        check_apart(roles, witnesses)
        fields[WITNESSES] = witness_fields(witnesses)
    authorities = (roles["root"],) if previous is None else (previous, roles["root"])
    blob = payload("root", app_id, version, now + OFFLINE_LIFETIME_S, **fields)
    return Draft("root", version, blob, authorities)
