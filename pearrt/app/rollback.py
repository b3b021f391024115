"""`pearrt rollback APP`: one step back to the release before the installed one, by the person's wish.

The release that is left is not installed again by itself; the next newer one is, and so is this one when the
person asks for the newest (`pearrt run --update`).
"""

from __future__ import annotations

from typing import Any

from pearrt.app.followed import FollowedApp
from pearrt.app.revoked import revocation_of
from pearrt.errors import NoSuchApp, TrustError, UserError


def roll_back(app: FollowedApp) -> dict[str, Any]:
    """Hold the app's lock. Raises NoSuchApp, UserError where there is nothing to go back to, TrustError where
    its signers took it back."""
    installed, previous = app.folder.installed, app.folder.previous
    if installed is None:
        raise NoSuchApp(f"{app.link.key_text} is not installed.")
    if previous is None or not app.folder.tree(previous.index_digest).exists():
        raise UserError(
            f"There is no release of {installed.name} before {installed.version} on this machine."
        )
    if revocation := revocation_of(app, previous):
        raise TrustError(
            f"{previous.name} {previous.version} was revoked by its signers: {revocation.reason}",
            hint="`pearrt run --update` gets the newest release.",
        )
    app.folder.skipped = installed.index_digest
    app.folder.step_back()
    app.pending = None
    return {"name": previous.name, "version": previous.version, "left": installed.version}
