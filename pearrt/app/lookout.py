"""Looking for newer releases in the background: when a peer, the DHT or a start gives a reason to.

One look at a time per app; what is heard during a look makes for another one. A look that fails is logged
and changes nothing: the next reason makes the next look.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from pearrt.app.followed import FollowedApp
from pearrt.app.freshness import LOOK_EVERY_S, LOOK_SOON_S, look, look_is_due
from pearrt.app.handover import give_up_if_moved
from pearrt.app.install import ask, obtain
from pearrt.app.log import fetch_log
from pearrt.app.progress import silent
from pearrt.dht.service import DhtService
from pearrt.errors import PearrtError, StoreError
from pearrt.link import encode_key
from pearrt.trust.app import Verdict

if TYPE_CHECKING:
    from pearrt.app.apps import Apps

log = logging.getLogger(__name__)


class Lookout:
    """`own_update` looks after pearrt's own releases, which are taken with more care than an app's."""

    def __init__(self, apps: Apps, tasks: asyncio.TaskGroup) -> None:
        self._apps = apps
        self._tasks = tasks
        self._looking: set[bytes] = set()
        self._again: set[bytes] = set()
        self._background: set[asyncio.Task[None]] = set()
        self.own_update: Callable[[], Awaitable[None]] = _nothing

    def look_for_newer(self, app_key: bytes) -> None:
        """Looks for a newer release in the background."""
        if app_key in self._looking:
            self._again.add(app_key)
        else:
            self._looking.add(app_key)
            self.in_background(self._update(app_key))

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work` beside everything else, until it is done or the daemon ends."""
        self._background.add(task := self._tasks.create_task(work))
        task.add_done_callback(self._background.discard)

    def close(self) -> None:
        """Ends what runs in the background; what was fetched is kept."""
        self._again.clear()
        for task in list(self._background):
            task.cancel()

    async def _update(self, app_key: bytes) -> None:
        apps = self._apps
        app = apps.followed.get(app_key)
        if app is None:
            return
        try:
            await self._bring(app)
            await fetch_log(app, apps.store)
            if app_key == apps.own:
                await self.own_update()
        except asyncio.CancelledError:
            self._again.discard(app_key)  # there is no background any more
            raise
        except PearrtError as e:
            log.warning("update of %s: %s", encode_key(app_key)[:8], e)
            apps.on_trust(app_key)  # what is signed may be newer although nothing was installed
        except Exception:
            log.exception("our own bug in an update of %s", encode_key(app_key)[:8])
        finally:
            self.ask_dht(app, LOOK_SOON_S)
            self._looking.discard(app_key)
            if app_key in self._again:
                self._again.discard(app_key)
                self.look_for_newer(app_key)

    async def _bring(self, app: FollowedApp) -> None:
        """What is newer, as far as this machine has a use for it."""
        apps, app_key = self._apps, app.link.app_key
        await give_up_if_moved(app, apps.home)
        if app_key == apps.own:
            return  # see `own_update`
        if app.folder.installed is None and (app.published or not (app.seeding or app.trusted)):
            return
        await ask(app, silent)  # looked at or reviewed here: what others are told is current, at least
        async with apps.locks[app_key]:
            if apps.followed.get(app_key) is not app:
                return
            if app.folder.installed is not None:
                await apps.switching.install(app, silent, foreground=False)
            elif app.seeding and not app.published:
                await obtain(app, apps.store, silent, foreground=False)

    # -- the DHT

    def beat(self) -> None:
        """Now and then: keeps who confirmed the apps, and asks the DHT of those that nobody did."""
        for app in list(self._apps.followed.values()):
            with contextlib.suppress(StoreError):
                app.save_confirmations()
            self.ask_dht(app, LOOK_EVERY_S)

    def ask_dht(self, app: FollowedApp, every_s: float) -> None:
        """Asks the DHT, in the background, what the publisher said last, where no peer confirmed the app."""
        dht = self._apps.dht
        if dht is not None and look_is_due(app, time.time(), every_s):
            self.in_background(self._ask(app, dht))

    async def _ask(self, app: FollowedApp, dht: DhtService) -> None:
        try:
            if await look(app, dht) in (Verdict.NEWER, Verdict.LATER_ROOT):
                self.look_for_newer(app.link.app_key)
        except Exception:
            log.exception("our own bug in looking for news of %s", encode_key(app.link.app_key)[:8])


async def _nothing() -> None:
    pass
