"""What running apps are told, and when they are asked to end: updates, permissions and releases that were
revoked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Any

from pearrt.app import granting
from pearrt.app.apps import Apps
from pearrt.daemon.channel import Channels
from pearrt.daemon.circles import Circles
from pearrt.daemon.instance import Instance
from pearrt.daemon.proxy import cut
from pearrt.daemon.shelves import Shelves
from pearrt.errors import PearrtError
from pearrt.trust.revocation import Action

log = logging.getLogger(__name__)

# What an app has from its start on, checked by no call: only its end takes it away.
ENDING = frozenset(["background", "run.native", "ui"])
STOP_AFTER_S = 3.0  # what an app that is told of its end has before it is asked to go


class Live:
    """Between what the daemon learns (`apps`) and who runs (`channels`)."""

    def __init__(self, apps: Apps) -> None:
        self.apps = apps
        self.channels: Channels | None = None
        self.circles: Circles | None = None
        self.shelves: Shelves | None = None
        self._warned: dict[Instance, str] = {}
        self._stopping: dict[Instance, asyncio.TimerHandle] = {}

    def _of(self, app_key: bytes) -> list[Instance]:
        return [] if self.channels is None else list(self.channels.of(app_key))

    def opened(self, instance: Instance) -> None:
        """An app has started: what changed since the last start was told."""
        try:
            folder = self.apps.known(instance.app_key).folder
            installed = folder.installed
            if installed is not None and installed.index_digest == instance.start.index_digest:
                folder.news = None
        except (PearrtError, OSError) as e:
            log.warning("news of an app that was started: %s", e)
        if self.circles is not None:
            self.circles.again(instance)
        self.trusted(instance.app_key)

    def ended(self, instance: Instance) -> None:
        cut(instance)
        if self.circles is not None:
            self.circles.ended(instance)
        if self.shelves is not None and all(other is instance for other in self._of(instance.app_key)):
            self.shelves.idle(instance.app_key)
        self._warned.pop(instance, None)
        if (stop := self._stopping.pop(instance, None)) is not None:
            stop.cancel()

    def tell(self, app_key: bytes, event: dict[str, Any]) -> None:
        for instance in self._of(app_key):
            instance.tell(event)

    def removed(self, app_key: bytes) -> None:
        """The app was forgotten."""
        if self.shelves is not None:
            self.shelves.close(app_key)

    def trusted(self, app_key: bytes) -> None:
        """What is signed of the app may have changed: running releases that were revoked are told, and ended
        where the signers say so."""
        for instance in self._of(app_key):
            trusted = self.apps.known(app_key).trusted
            digest = instance.start.index_digest
            revocation = trusted.revoked(bytes.fromhex(digest)) if trusted is not None and digest else None
            if revocation is None or self._warned.get(instance) == revocation.action.value:
                continue
            self._warned[instance] = revocation.action.value
            told = {"action": revocation.action.value, "reason": revocation.reason}
            instance.tell({"event": "revoked", "version": instance.start.version, **told})
            if revocation.action is Action.STOP and instance.attendant is not None:
                later = asyncio.get_running_loop().call_later(
                    STOP_AFTER_S, self._stop, instance, revocation.reason
                )
                self._stopping[instance] = later

    def attended(self, instance: Instance) -> None:
        """Somebody who can end the app has come: what was revoked before is ended now."""
        self._warned.pop(instance, None)
        self.trusted(instance.app_key)

    def _stop(self, instance: Instance, reason: str) -> None:
        if instance.attendant is None:
            return
        log.warning("%s is revoked and asked to end: %s", instance.start.version, reason)
        instance.attendant.tell("stop", reason=f"its signers revoked this release: {reason}")

    def revoke(self, app_key: bytes, names: Collection[str]) -> list[str]:
        """Takes permissions back, all where `names` is empty, and acts at once; gives what was taken. Raises
        as `granting.take_back`."""
        app = self.apps.known(app_key)
        taken = granting.take_back(app.folder, names)
        given = granting.given(app.folder)
        if self.shelves is not None and "store" not in given.p2p:
            self.shelves.close(app_key)
        for instance in self._of(app_key):
            for name in taken:
                instance.tell({"event": "permission-revoked", "permission": name})
            cut(instance, given)
            if self.circles is not None and "join" not in given.p2p:
                self.circles.ended(instance)
            if ENDING & set(taken) and instance.attendant is not None:
                name = min(ENDING & set(taken))
                instance.attendant.tell("stop", reason=f"you took its permission {name} back")
        return taken
