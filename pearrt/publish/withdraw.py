"""Taking a release back: the signers revoke it, or name an older one anew.

To go back is to go on: the older index gets a new and higher version of the metadata, so that nobody's
protection against rollback stands in its way.
"""

from __future__ import annotations

from dataclasses import replace

from pearrt.errors import UserError
from pearrt.publish.app import OFFLINE_LIFETIME_S
from pearrt.publish.draft import Draft
from pearrt.publish.release import Variant, put_releases, targets_draft
from pearrt.trust.app import TrustedApp
from pearrt.trust.release import Release
from pearrt.trust.revocation import MAX_REASON_CHARS, MAX_REVOCATIONS, Action, Revocation


def revoke(
    trusted: TrustedApp,
    index_digest: bytes,
    action: Action,
    reason: str,
    *,
    now: float,
    lifetime_s: float = OFFLINE_LIFETIME_S,
) -> Draft:
    """The draft that revokes the release with this index. Another action for a revoked one replaces it.

    What is current stays as it is: a revoked release that is still current is not installed any more, so
    `go_back` or a new release belongs after it. Raises UserError for a reason that can't be shown.
    """
    revocations = _with(trusted, Revocation(index_digest, action, reason))
    return targets_draft(trusted, trusted.targets.releases, now + lifetime_s, revocations=revocations)


def reinstate(
    trusted: TrustedApp, index_digest: bytes, *, now: float, lifetime_s: float = OFFLINE_LIFETIME_S
) -> Draft:
    """The draft that takes a revocation back. Raises UserError where there is none."""
    kept = [each for each in trusted.targets.revocations if each.index_digest != index_digest]
    if len(kept) == len(trusted.targets.revocations):
        raise UserError(f"No release with the index {index_digest.hex()} is revoked.")
    return targets_draft(trusted, trusted.targets.releases, now + lifetime_s, revocations=kept)


def go_back(
    trusted: TrustedApp,
    to: Release | Variant,
    *,
    now: float,
    channel: str = "stable",
    version: str = "",
    notes: str = "",
    revoke_current: Revocation | None = None,
    lifetime_s: float = OFFLINE_LIFETIME_S,
) -> Draft:
    """The draft that makes an older index current again, as a new and higher version of the metadata.

    `to` is that release as an earlier metadata named it, or its index for a `version`. `revoke_current` takes
    back, in the same step, what it replaces, where the app's signers speak for the channel. Raises UserError
    where `to` itself is revoked or has no version.
    """
    current = trusted.release(channel, (to.platform,))
    if isinstance(to, Variant):
        if current is None or not version:
            raise UserError(
                "To go back to an index, say which version it was, in a channel that has a release."
            )
        to = Release(
            channel=channel,
            platform=to.platform,
            name=current.name,
            version=version,
            sequence=1,
            index_digest=to.index_digest,
            index_size=to.index_size,
            index_blocks=to.index_blocks,
            notes=notes,
            released_at=now,
        )
    revocations = _with(trusted, revoke_current) if revoke_current else None
    known = trusted.targets.revocations if revocations is None else revocations
    if any(each.index_digest == to.index_digest for each in known):
        raise UserError(
            f"{to.version} is revoked itself.", hint="Go back to another release, or reinstate it first."
        )
    again = replace(
        to,
        channel=channel,
        version=version or to.version,
        sequence=trusted.targets_of(channel).version + 1,
        notes=notes or to.notes,
        released_at=now,
        rollout=(),
        before=None,
    )
    return put_releases(trusted, [again], now, lifetime_s, revocations=revocations)


def _with(trusted: TrustedApp, new: Revocation) -> list[Revocation]:
    if len(new.reason) > MAX_REASON_CHARS or not new.reason.isprintable():
        raise UserError(f"A reason is one line of at most {MAX_REASON_CHARS} characters.")
    others = [each for each in trusted.targets.revocations if each.index_digest != new.index_digest]
    if len(others) >= MAX_REVOCATIONS:
        raise UserError(f"At most {MAX_REVOCATIONS} releases can be revoked at a time.")
    return [*others, new]
