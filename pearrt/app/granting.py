"""What the person gave an app: the approval, and what they refused or took back of it.

Rules: an approval is of one request, by its digest: the app key (the folder it lies in) and the digest of the
normalised permissions. It covers every narrower request and no wider one; and none at all once the meaning of
permissions has changed (`policy.DIGEST_TAG`). Nor does it cover another kind of app. What was refused stays
refused until the person gives it, also when a later release asks for it again in the same words.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from pearrt.app.library import AppFolder
from pearrt.app.record import Grant
from pearrt.bundle.manifest import Manifest
from pearrt.errors import Denied, Unsupported, UserError
from pearrt.sandbox.policy import Permissions


def asked(manifest: Manifest) -> Permissions:
    """What a release asks for. Raises Unsupported where this version does not know it: nobody could be told
    what they say yes to."""
    try:
        return Permissions.parse(manifest.permissions)
    except UserError as e:
        raise Unsupported(
            f"{manifest.name} {manifest.version} asks for what this version of pearrt does not know: "
            f"{e.message}",
            hint="`pearrt update` may bring one that does. What was installed before goes on.",
        ) from e


def approval(folder: AppFolder) -> Grant | None:
    """The person's approval, where it still means what it meant when it was given. Raises Corrupt."""
    grant = folder.grant
    if grant is None or not grant.digest:
        return None
    try:
        request = Permissions.parse(grant.permissions)
    except UserError:
        return None  # of a later version of pearrt, before a step back
    return grant if request.digest().hex() == grant.digest else None


def given(folder: AppFolder) -> Permissions:
    """What the app may have at most, whatever it asks for; the least where nothing is approved."""
    grant = approval(folder)
    return Permissions() if grant is None else Permissions.parse(grant.permissions).without(grant.refused)


def may_store(folder: AppFolder) -> bool:
    """Whether the app may keep blocks for itself on other machines."""
    return "store" in given(folder).p2p


def refused(folder: AppFolder) -> tuple[str, ...]:
    """What of the approval the person refused or took back."""
    grant = approval(folder)
    return () if grant is None else tuple(grant.refused)


def covers(folder: AppFolder, manifest: Manifest) -> bool:
    """Whether the person approved all that the manifest asks for, or more."""
    grant = approval(folder)
    if grant is None or grant.kind != manifest.kind:
        return False
    return not asked(manifest).widens(Permissions.parse(grant.permissions))


def approve(folder: AppFolder, manifest: Manifest, refused: Collection[str]) -> None:
    """Records the person's yes to a manifest, less what they refused."""
    request = asked(manifest)
    names = _known(request, refused)
    folder.grant = Grant(
        dict(manifest.permissions), int(time.time()), request.digest().hex(), names, kind=manifest.kind
    )


def decline(folder: AppFolder, digest: bytes) -> None:
    """Remembers the person's no to a wider request, so that they are not asked at every start."""
    if (grant := folder.grant) is not None:
        folder.grant = replace(grant, declined=digest.hex())


def declined(folder: AppFolder, manifest: Manifest) -> bool:
    """Whether the person said no to just this request."""
    grant = folder.grant
    return grant is not None and grant.declined == asked(manifest).digest().hex()


def take_back(folder: AppFolder, names: Collection[str]) -> list[str]:
    """Takes single permissions back, or the whole approval where `names` is empty; gives what was taken.

    Raises Denied where nothing is approved, UserError for what was not.
    """
    grant = approval(folder)
    if grant is None:
        raise Denied("Nothing is approved for this app.", hint="`pearrt permissions list` shows what is.")
    held = Permissions.parse(grant.permissions)
    before = held.without(grant.refused).optional()
    if not names:
        folder.forget_grant()
        return before
    refused = sorted({*grant.refused, *_known(held, names)})
    folder.grant = replace(grant, refused=refused)
    after = held.without(refused).optional()
    return [name for name in before if name not in after]


def overview(folder: AppFolder, manifest: Manifest) -> dict[str, Any]:
    """What `pearrt permissions list` shows: `approved`, and each optional permission that the manifest asks
    for as `given`, `refused` or `not approved`."""
    request, grant, has = asked(manifest), approval(folder), given(folder)
    states = {}
    for name in request.optional():
        if request.without([name]).within(has) == request.within(has):
            states[name] = "refused" if grant is not None else "not approved"
        else:
            states[name] = "given"
    return {
        "approved": covers(folder, manifest),
        "approved_at": None if grant is None else grant.approved_at,
        "shares": request.describe()[:3],
        "permissions": states,
    }


def _known(asked: Permissions, names: Collection[str]) -> list[str]:
    """The names, sorted. Raises UserError for one that the request does not have."""
    for name in names:
        if asked.without([name]) == asked:
            raise UserError(
                f"The app does not ask for {ascii(name)[:80]}.",
                hint=f"It asks for {', '.join(asked.optional()) or 'nothing that can be refused alone'}.",
            )
    return sorted(set(names))
