"""An app that moves: its signers named a heartbeat key that lies on another machine.

Who publishes an app asks nobody what is current: a stolen heartbeat key must not be able to tell it
otherwise. Only a later root, signed by the signers, takes that role away. From then on this machine follows
the app like any other; its publication stays on disk and confirms nothing any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from pearrt.app.followed import FollowedApp
from pearrt.app.library import AppFolder
from pearrt.errors import NetworkError, PearrtError, RemoteError, TrustError
from pearrt.link import encode_key
from pearrt.paths import Home
from pearrt.publish.publication import Publication, is_published
from pearrt.trust.app import TrustedApp

log = logging.getLogger(__name__)


def has_moved(trusted: TrustedApp, publication: Publication) -> bool:
    """Whether a later root than the publication's gives another machine's key the heartbeat."""
    later = trusted.root_version > publication.trusted.root_version
    return later and not publication.heartbeat.is_named_by(trusted.root)


def is_publisher(home: Home, folder: AppFolder) -> bool:
    """Whether this machine publishes the app, as far as it knows."""
    if not is_published(home.publishing, folder.app_key):
        return False
    with contextlib.suppress(PearrtError):  # what is damaged is said by who uses it
        publication = Publication.open(home.publishing / encode_key(folder.app_key))
        state = folder.trust
        return state is None or not has_moved(TrustedApp.restore(folder.app_key, state), publication)
    return True


async def give_up_if_moved(app: FollowedApp, home: Home) -> None:
    """Looks, where a peer told of a later root, whether it made another machine the publisher."""
    if not (app.published and app.told_of_later_root):
        return
    app.told_of_later_root = False
    with contextlib.suppress(NetworkError):  # whoever told of it is gone, and will tell again
        await _look(app, home)


async def _look(app: FollowedApp, home: Home) -> None:
    folder = home.publishing / encode_key(app.link.app_key)
    publication = await asyncio.to_thread(Publication.open, folder)
    async with contextlib.aclosing(app.members.offers(app.first_root_wanted)) as offers:
        async for offer in offers:
            try:
                trusted = app.judge(offer.metadata, allow_stale=True)
            except (TrustError, RemoteError):
                continue
            if has_moved(trusted, publication):
                log.info("%s is published from another machine now", folder.name[:8])
                app.trust(trusted)
                app.published = False
                app.members.timestamp_changed()
                return
