"""What the read-only HTTP view shows of this machine's apps: only who knows an app's key or a digest sees
it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pearrt.app.apps import Apps
from pearrt.errors import StoreError
from pearrt.trust.metadata_set import MetadataSet


class AppMirror:
    """`MirrorSource` of the gateway. `apps` is asked late: the peer port opens before the apps are read."""

    def __init__(self, apps: Callable[[], Apps | None]) -> None:
        self._apps = apps

    def metadata(self, app_key: bytes) -> MetadataSet | None:
        apps = self._apps()
        app = apps.followed.get(app_key) if apps else None
        return None if app is None or app.trusted is None else app.trusted.metadata

    async def block(self, block_id: bytes) -> bytes | None:
        apps = self._apps()
        if apps is None or not any(membership.serves(block_id) for membership in apps.swarm.memberships):
            return None
        try:
            return await asyncio.to_thread(apps.store.get, block_id)
        except StoreError:
            return None
