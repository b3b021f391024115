"""A release takes over on this machine, and whoever must know is told.

A newer release takes over by itself unless it asks for more than was granted while an older one can still
run: it then waits for the person's yes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from pearrt.app import granting, updates
from pearrt.app.durable import make_durable
from pearrt.app.followed import FollowedApp, installed_manifest
from pearrt.app.install import install, install_release
from pearrt.app.progress import Report
from pearrt.app.record import Installed
from pearrt.bundle.index import Index
from pearrt.errors import PearrtError
from pearrt.sandbox.launch import Launch
from pearrt.sandbox.policy import Permissions
from pearrt.store.service import Store
from pearrt.trust.release import Release

if TYPE_CHECKING:
    from pearrt.app.apps import Apps

log = logging.getLogger(__name__)


class Switching:
    """From one installed release to the next. Hold the app's lock for every call.

    `settle` is what is done with a fresh release beside everything else, in a thread.
    """

    def __init__(self, apps: Apps) -> None:
        self._apps = apps
        self._store = apps.store
        self.settle: Callable[[FollowedApp, Installed, Store], None] = _settle

    async def install(
        self,
        app: FollowedApp,
        report: Report,
        *,
        allow_stale: bool = False,
        foreground: bool = True,
        eager: bool = False,
    ) -> Installed:
        """Installs the newest release. Raises as `app.install.install`."""
        before, pending = app.folder.installed, app.pending
        installed = await install(
            app,
            self._store,
            report,
            allow_stale=allow_stale,
            foreground=foreground,
            eager=eager,
            may_switch=lambda index: may_switch(app, index),
        )
        self._switched(app, before, installed)
        if app.pending is not None and (pending is None or pending.version != app.pending.version):
            self._tell_ready(app, installed.index_digest)
        return installed

    async def install_verified(self, app: FollowedApp, release: Release, report: Report) -> Installed:
        """Installs a trusted release whose blocks are all in the store; asks nobody."""
        before = app.folder.installed
        installed = await install_release(
            app, self._store, release, report, may_switch=lambda index: may_switch(app, index)
        )
        self._switched(app, before, installed)
        return installed

    def _switched(self, app: FollowedApp, before: Installed | None, installed: Installed) -> None:
        if before is not None and installed.version != before.version:
            log.info("%s: %s is installed", installed.name, installed.version)
            updates.note_switch(app, self._store, before, installed)
            self._tell_ready(app, before.index_digest)
        self._apps.on_trust(app.link.app_key)
        if before is None or installed.index_digest != before.index_digest:
            # A thread that nobody waits for: the daemon may end in the middle, its sandbox ends with it.
            threading.Thread(target=self.settle, args=(app, installed, self._store), daemon=True).start()

    def _tell_ready(self, app: FollowedApp, running_digest: str) -> None:
        if (told := updates.ready(app, running_digest)) is not None:
            self._apps.on_event(app.link.app_key, {"event": "update-ready", **told})


def may_switch(app: FollowedApp, index: Index) -> bool:
    """Whether a release takes over without being asked about. Raises Unsupported as `granting.asked`."""
    granting.asked(index.manifest)
    return app.folder.installed is None or granting.covers(app.folder, index.manifest)


def _settle(app: FollowedApp, installed: Installed, store: Store) -> None:
    """Makes a fresh release durable and compiles its modules, inside the sandbox, so that its starts are
    faster."""
    from pearrt.sandbox import service as sandbox

    try:
        make_durable(app.folder, store, installed)
        manifest = installed_manifest(app, installed, store)
        sandbox.prepare(
            Launch(
                app_key=app.link.app_key,
                manifest=manifest,
                folder=app.folder.tree(installed.index_digest),
                data=app.folder.data,
                permissions=Permissions.parse(manifest.permissions),
                bytecode=app.folder.bytecode(installed.index_digest),
            )
        )
    except (PearrtError, OSError) as e:
        log.warning("%s is not settled: %s", installed.name, e)
