"""Updates with manners: what a running app and the person are told of a newer release, and when."""

from __future__ import annotations

import contextlib
from typing import Any

from pearrt.app.followed import FollowedApp, current_release, installed_index
from pearrt.app.news import changes, gathered
from pearrt.app.record import Installed
from pearrt.bundle.index import Index
from pearrt.errors import PearrtError
from pearrt.store.service import Store
from pearrt.trust.release import Release


def note_switch(app: FollowedApp, store: Store, old: Installed, new: Installed) -> None:
    """Writes down, for the next start, that `new` took over from `old`."""
    before = app.folder.news
    if before is not None and before.old_digest == new.index_digest:
        app.folder.news = None  # back at what ran last
        return
    was = _index(store, old) if before is None else None  # blocks of older releases are dropped
    app.folder.news = gathered(
        before, old, new, _release(app, new), changes(was, installed_index(new, store))
    )


def ready(app: FollowedApp, running_digest: str) -> dict[str, Any] | None:
    """The newer release that an app running from the index `running_digest` could be: `{version, notes,
    security, widens}`; None where it runs what there is."""
    installed = app.folder.installed
    if app.pending is not None:
        release = current_release(app)
        same = release is not None and release.version == app.pending.version
        return _told(app.pending.version, release if same else None, widens=True)
    if installed is None or installed.index_digest == running_digest:
        return None
    return _told(installed.version, _release(app, installed), widens=False)


def _told(version: str, release: Release | None, *, widens: bool) -> dict[str, Any]:
    return {
        "version": version,
        "notes": release.notes if release else "",
        "security": release is not None and release.security,
        "widens": widens,
    }


def _release(app: FollowedApp, installed: Installed) -> Release | None:
    """The signed statement of an installed release, where it is still the current one."""
    release = current_release(app)
    return release if release is not None and release.index_digest.hex() == installed.index_digest else None


def _index(store: Store, installed: Installed) -> Index | None:
    with contextlib.suppress(PearrtError):
        return installed_index(installed, store)
    return None
