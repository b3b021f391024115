"""A change of signers, threshold, heartbeat or witnesses: a new root, and the current releases signed anew
under it.

Rotating keys is also the way back after a theft: what only revoked keys vouched for binds nobody any more. If
a threshold of signers was stolen, rotate the heartbeat as well, so that versions the thief pushed up are
forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pearrt.crypto.keyfile import PREFIX, PublicKey
from pearrt.errors import UserError
from pearrt.publish.app import roles_of, root_draft
from pearrt.publish.draft import Draft, display_name
from pearrt.publish.release import targets_draft
from pearrt.trust.app import TrustedApp
from pearrt.trust.metadata import Authority, Signer


@dataclass(frozen=True, slots=True)
class NewTeam:
    """Who shall sign from now on, and how many of them it takes."""

    signers: tuple[PublicKey, ...]
    threshold: int


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
    witnesses: Authority | None = None,
    unwitnessed: bool = False,
) -> Rotation:
    """Drafts that hand the app over. The witnesses stay, unless there are new ones or shall be none.

    Raises UserError as `new_app` does.
    """
    roles = roles_of(signers, threshold, heartbeat)
    root = root_draft(
        trusted.root.app_id,
        trusted.root.version + 1,
        roles,
        now,
        previous=trusted.root.authorities["root"],
        witnesses=None if unwitnessed else witnesses or trusted.root.witnesses,
    )
    targets = targets_draft(trusted, trusted.targets.releases, now, authority=roles["targets"])
    return Rotation(root, targets)


def change_team(
    trusted: TrustedApp, *, add: Sequence[PublicKey], remove: Sequence[str], threshold: int | None
) -> NewTeam:
    """The present signers, without those whom `remove` names by name, key id or public key, and with `add`.

    The threshold stays where none is given. Raises UserError for a name that nobody has, or two have, and for
    a key that signs already.
    """
    left = dict(trusted.root.authorities["root"].signers)
    for name in remove:
        found = [keyid for keyid, signer in left.items() if _answers_to(signer, name)]
        if len(found) != 1:
            who = "No signer is" if not found else f"{len(found)} signers are"
            names = ", ".join(f"{display_name(each)} ({each.keyid[:8]})" for each in left.values())
            raise UserError(f"{who} called {name[:80]!r}.", hint=f"Signers: {names}.")
        del left[found[0]]
    kept = [PublicKey(signer.public, signer.name) for signer in left.values()]
    for key in add:
        if any(key.key == each.key for each in kept):
            raise UserError(f"{key.comment or key} signs already.")
    return NewTeam((*kept, *add), threshold or trusted.root.authorities["root"].threshold)


def _answers_to(signer: Signer, name: str) -> bool:
    return name in (signer.name, signer.keyid, signer.keyid[:8]) or (
        name.startswith(PREFIX) and PublicKey.parse(name).key == signer.public
    )
