"""Taking releases back: the signers revoke them, or reinstate what they revoked.

What is current stays as it is. A revoked release that is still current is not installed any more: a new
release, or an older one named anew, belongs after it.
"""

from __future__ import annotations

from collections.abc import Collection

from pearrt.errors import UserError
from pearrt.publish.draft import Draft
from pearrt.publish.release import targets_draft
from pearrt.trust.app import TrustedApp
from pearrt.trust.revocation import MAX_REASON_CHARS, MAX_REVOCATIONS, Action, Revocation


def revoke(
    trusted: TrustedApp, index_digests: Collection[bytes], action: Action, reason: str, *, now: float
) -> Draft:
    """The draft that revokes the releases with these indexes. Raises UserError as `revoked_with` does."""
    revocations = revoked_with(trusted, index_digests, action, reason)
    return targets_draft(trusted, trusted.targets.releases, now, revocations=revocations)


def reinstate(trusted: TrustedApp, index_digests: Collection[bytes], *, now: float) -> Draft:
    """The draft that takes revocations back. Raises UserError for a release that is not revoked."""
    known = trusted.targets.revocations
    for missing in set(index_digests) - {each.index_digest for each in known}:
        raise UserError(f"No release with the index {missing.hex()} is revoked.")
    kept = [each for each in known if each.index_digest not in index_digests]
    return targets_draft(trusted, trusted.targets.releases, now, revocations=kept)


def revoked_with(
    trusted: TrustedApp, index_digests: Collection[bytes], action: Action, reason: str
) -> list[Revocation]:
    """What is revoked, and these indexes besides; for one that is already, this takes the place of that.

    Raises UserError for a reason that can't be shown, and for too many.
    """
    if len(reason) > MAX_REASON_CHARS or not reason.isprintable():
        raise UserError(f"A reason is one line of at most {MAX_REASON_CHARS} characters.")
    others = [each for each in trusted.targets.revocations if each.index_digest not in index_digests]
    if len(others) + len(index_digests) > MAX_REVOCATIONS:
        raise UserError(f"At most {MAX_REVOCATIONS} releases can be revoked at a time.")
    return [*others, *(Revocation(digest, action, reason) for digest in index_digests)]
