"""A change of signers, threshold or heartbeat: a new root, and the current releases signed anew under it.

Rotating keys is also the way back after a theft: what only revoked keys vouched for binds nobody any more. If
a threshold of signers was stolen, rotate the heartbeat as well, so that versions the thief pushed up are
forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pearrt.crypto.keyfile import PublicKey
from pearrt.publish.app import OFFLINE_LIFETIME_S, roles_of, root_draft
from pearrt.publish.draft import Draft
from pearrt.publish.release import targets_draft
from pearrt.trust.app import TrustedApp


@dataclass(frozen=True, slots=True)
class Rotation:
    """The root wants both the old and the new threshold, the targets the new one; both are published
    together."""

    root: Draft
    targets: Draft


def rotate(
    trusted: TrustedApp,
    signers: Sequence[PublicKey],
    threshold: int,
    *,
    heartbeat: bytes,
    now: float,
    lifetime_s: float = OFFLINE_LIFETIME_S,
) -> Rotation:
    """Drafts that hand the app over. Raises UserError as `new_app` does."""
    roles = roles_of(signers, threshold, heartbeat)
    root = root_draft(
        trusted.root.app_id,
        trusted.root.version + 1,
        roles,
        now + lifetime_s,
        previous=trusted.root.authorities["root"],
    )
    targets = targets_draft(trusted, trusted.targets.releases, now + lifetime_s, authority=roles["targets"])
    return Rotation(root, targets)
