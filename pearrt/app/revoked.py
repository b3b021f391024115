"""What a machine does with an installed release that its signers took back: warn, stop or return."""

from __future__ import annotations

from pearrt.app.followed import FollowedApp, current_release
from pearrt.app.record import Installed
from pearrt.errors import NoSuchApp, TrustError
from pearrt.trust.revocation import Action, Revocation


def revocation_of(app: FollowedApp, installed: Installed | None) -> Revocation | None:
    """What the signers say of an installed release, if they took it back."""
    if app.trusted is None or installed is None:
        return None
    return app.trusted.revoked(bytes.fromhex(installed.index_digest))


def heed_revocation(app: FollowedApp) -> Revocation | None:
    """Before a start: a warning to show, or None. With `return` it steps back to the release before, if there
    is one that may run.

    Raises NoSuchApp where another release should be installed first, TrustError where there is none.
    """
    installed = app.folder.installed
    revocation = revocation_of(app, installed)
    if revocation is None or installed is None or revocation.action is Action.WARN:
        return revocation
    said = f"{installed.name} {installed.version} was revoked by its signers: {revocation.reason}"
    release = current_release(app)
    if release is not None and (revocation.action is Action.RETURN or release.sequence > installed.sequence):
        raise NoSuchApp(said, hint=f"{release.version} takes its place: run it again.")
    previous = app.folder.previous
    if (
        revocation.action is Action.RETURN
        and previous is not None
        and revocation_of(app, previous) is None
        and app.folder.tree(previous.index_digest).exists()
    ):
        app.folder.step_back()
        return None
    raise TrustError(said, hint="It does not start any more. Its signers may release another version.")
