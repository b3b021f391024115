"""Apps that are published from this machine: what was committed reaches the swarm, and stays confirmed.

The publication on disk is the publisher's word; peers hear it from here once it is trusted like anybody
else's. The heartbeat re-signs it when that is due and stores the newest timestamp in the DHT.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pearrt.app.followed import advertise, held
from pearrt.app.freshness import put_hint
from pearrt.app.handover import has_moved
from pearrt.app.log import keep_log
from pearrt.app.record import Wish
from pearrt.errors import PearrtError
from pearrt.link import Link, encode_key
from pearrt.publish.history import leaves
from pearrt.publish.publication import Publication, publications

if TYPE_CHECKING:
    from pearrt.app.apps import Apps

log = logging.getLogger(__name__)


class Publishing:
    """`hinted`: the timestamps, by app key, that lie in the DHT."""

    def __init__(self, apps: Apps) -> None:
        self._apps = apps
        self._folder = apps.home.publishing
        self.hinted: dict[bytes, bytes] = {}

    async def publish(self, link: Link) -> None:
        """Takes over what was committed to this machine's publication of the app: trusts, seeds and gossips
        it."""
        apps = self._apps
        publication = await asyncio.to_thread(Publication.open, self._folder / link.key_text)
        app = await apps.follow(link)
        app.published = True
        async with apps.locks[link.app_key]:
            app.accept(publication.metadata.encode(), allow_stale=True)
            await asyncio.to_thread(keep_log, app, apps.store, leaves(publication.folder))
            for digest, index_blocks, index in await asyncio.to_thread(held, app, apps.store):
                advertise(app, digest, index_blocks, index)
            app.members.timestamp_changed()
            app.folder.wish = replace(app.folder.wish or Wish(str(link)), seed=True)
        apps.lookout.in_background(self._put_hint(publication))
        if link.app_key == apps.own or app.folder.installed is not None:
            apps.lookout.look_for_newer(link.app_key)

    async def beat(self) -> None:
        """Re-signs, for every app published from here, that its newest release is current, when that is
        due. What was committed while no daemon took it over is published now."""
        for folder in publications(self._folder):
            try:
                await self._beat(await asyncio.to_thread(Publication.open, folder))
            except PearrtError as e:
                log.warning("heartbeat of %s: %s", folder.name[:8], e)

    async def _beat(self, publication: Publication) -> None:
        app = self._apps.followed.get(publication.app_key)
        if app is not None and app.trusted is not None and has_moved(app.trusted, publication):
            return
        if publication.refresh_due(time.time()):
            publication = await asyncio.to_thread(publication.refresh, time.time())
        if publication.trusted.releases and not self._is_trusted(publication):
            await self.publish(Link(publication.app_key))
        await self._put_hint(publication)

    def _is_trusted(self, publication: Publication) -> bool:
        app = self._apps.followed.get(publication.app_key)
        return app is not None and app.trusted is not None and app.trusted.metadata == publication.metadata

    async def _put_hint(self, publication: Publication) -> None:
        """Stores the newest timestamp in the DHT, unless it lies there: the DHT's service keeps it alive."""
        key, raw, dht = publication.app_key, publication.metadata.timestamp, self._apps.dht
        app = self._apps.followed.get(key)
        if dht is None or app is None or self.hinted.get(key) == raw:
            return
        if not publication.heartbeat.is_named_by(publication.trusted.root):
            return  # the root that names it still waits for the app's witnesses
        try:
            if await put_hint(app, dht, publication.heartbeat.seed):
                self.hinted[key] = raw
        except Exception:
            log.exception("our own bug in telling the DHT of %s", encode_key(key)[:8])
