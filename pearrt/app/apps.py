"""All apps that one daemon follows: joining their swarms, what the local API offers, saying how they are.

Each app has one `FollowedApp` for as long as the daemon lives and one lock, so that two installs of one app
are one. Newer releases are looked for in the background (`lookout.py`), take over by rules of their own
(`switching.py`), and what is published from here is in `publishing.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pearrt.app import granting, pins, updates
from pearrt.app.candidates import acquaint, bring_candidate, offer_candidates
from pearrt.app.describe import (
    described,
    details,
    held_back,
    kept_bytes,
    metadata_files,
    places,
    summary,
)
from pearrt.app.durable import recover
from pearrt.app.followed import (
    FollowedApp,
    advertise,
    current_release,
    held,
    installed_index,
    installed_manifest,
)
from pearrt.app.handover import is_publisher
from pearrt.app.install import ask, catch_up, fetch_index, obtain
from pearrt.app.launch import Launchable
from pearrt.app.library import Library
from pearrt.app.log import fetch_log, keep_log, read_log
from pearrt.app.lookout import Lookout
from pearrt.app.machine import this_machine
from pearrt.app.progress import Report, silent
from pearrt.app.publishing import Publishing
from pearrt.app.record import Wish
from pearrt.app.revoked import heed_revocation, revocation_of
from pearrt.app.rollback import roll_back
from pearrt.app.rooms import Rooms
from pearrt.app.start import Start, launchable_of
from pearrt.app.switching import Switching
from pearrt.app.verify import verify_folder, verify_installed
from pearrt.bundle.manifest import Manifest
from pearrt.dht.service import DhtService
from pearrt.errors import Denied, NoSuchApp, PearrtError, UserError
from pearrt.lan.hosts import HostsFinder
from pearrt.link import MAX_HINTS, Link, encode_key
from pearrt.paths import Home
from pearrt.store.service import Store
from pearrt.swarm.service import SwarmService
from pearrt.trust.release import Release

log = logging.getLogger(__name__)


class Apps:
    """Opened inside a task group, which background updates run in."""

    def __init__(
        self,
        home: Home,
        store: Store,
        swarm: SwarmService,
        tasks: asyncio.TaskGroup,
        *,
        dht: DhtService | None = None,
        psk: bytes = b"",
    ) -> None:
        self.home = home
        self.store = store
        self.swarm = swarm
        self.dht = dht
        self.psk = psk
        self.library = Library(home.apps)
        self.machine = this_machine(home.data)
        self.followed: dict[bytes, FollowedApp] = {}
        self.locks: dict[bytes, asyncio.Lock] = {}
        self.following = asyncio.Lock()
        self.own = b""  # the app key of pearrt's own releases, where this process runs one of them
        self.running: Callable[[bytes], int] = lambda _: 0
        self.on_event: Callable[[bytes, dict[str, Any]], None] = lambda *_: None
        self.on_trust: Callable[[bytes], None] = lambda _: None
        self.switching = Switching(self)
        self.lookout = Lookout(self, tasks)
        self.publishing = Publishing(self)
        self.rooms = Rooms(self)

    # -- following

    async def restore(self) -> None:
        """Joins again the swarms of all apps known here."""
        for folder in self.library:
            try:
                wish = folder.wish
                link = Link.parse(wish.link) if wish else Link(folder.app_key)
                await asyncio.to_thread(recover, folder, self.store)
                await self.follow(link)
            except PearrtError as e:
                log.warning("%s is not followed: %s", encode_key(folder.app_key)[:8], e)
        await self.rooms.restore()

    async def follow(self, link: Link) -> FollowedApp:
        """The app behind `link`, its swarm joined; the link's nodes are DHT nodes and peers to try."""
        async with self.following:  # two who ask for one app at the same time get the same
            app = self.followed.get(link.app_key) or await self._begin(link)
        if link.mirrors and not self.psk:
            app.mirrors = tuple(dict.fromkeys((*link.mirrors, *app.mirrors)))[:MAX_HINTS]
        if link.nodes and self.dht is not None:
            await self.dht.add_nodes(link.nodes)
        async for address in HostsFinder(link.nodes).find(app.topic):
            app.members.add_peer(address)
        return app

    async def _begin(self, link: Link) -> FollowedApp:
        folder = self.library.folder(link.app_key)
        published = await asyncio.to_thread(is_publisher, self.home, folder)
        app = FollowedApp(link, folder, psk=self.psk, published=published, machine=self.machine)
        app.members = await self.swarm.join(app)
        app.members.on_newer = lambda _: self.lookout.look_for_newer(link.app_key)
        app.on_proof = app.members.proof_found
        app.members.on_confirmed = app.confirm
        self.followed[link.app_key] = app
        self.locks[link.app_key] = asyncio.Lock()
        for digest, index_blocks, index in await asyncio.to_thread(held, app, self.store):
            advertise(app, digest, index_blocks, index)
        await offer_candidates(app, self.store, self.home)
        await self.rooms.serve(app)
        if app.trusted is not None:
            await asyncio.to_thread(keep_log, app, self.store)
        return app

    def close(self) -> None:
        """Ends background updates; what they fetched is kept."""
        self.lookout.close()

    # -- what the local API offers

    async def install(self, link: Link, report: Report, *, update: bool, allow_stale: bool) -> dict[str, Any]:
        """Brings the app here; with `update`, also when some release of it is here already."""
        self._not_own(link.app_key)
        app = await self.follow(link)
        if update or _needs_install(link, app):
            await ask(app, report, allow_stale=allow_stale)
        async with self.locks[link.app_key]:
            installed, before = app.folder.installed, app.link
            moving = _names_another_channel(link, app)
            if moving:
                app.link = replace(app.link, channel=link.channel, names_channel=True)
            if installed is None or update or moving or revocation_of(app, installed):
                try:
                    installed = await self.switching.install(
                        app, report, allow_stale=allow_stale, eager=update or moving
                    )
                except PearrtError:
                    app.link = before
                    raise
            if moving or app.folder.wish is None:
                app.folder.wish = replace(app.folder.wish or Wish(""), link=str(app.link))
        return {"version": installed.version, "sequence": installed.sequence}

    async def launchable(
        self, link: Link, channel_socket: Path, issue: Callable[[Start], bytes]
    ) -> Launchable:
        """The installed release, ready to start; `issue` gives the token of its channel. Raises NoSuchApp. A
        background look for a newer one begins."""
        app = await self.follow(link)
        installed, trusted = app.folder.installed, app.trusted
        if installed is None or trusted is None or _names_another_channel(link, app):
            raise NoSuchApp(f"{link.key_text} is not installed.")
        revocation, before = heed_revocation(app), installed
        installed = app.folder.installed or installed
        if installed.index_digest != before.index_digest:
            await asyncio.to_thread(updates.note_switch, app, self.store, before, installed)
        manifest = await asyncio.to_thread(installed_manifest, app, installed, self.store)
        self.lookout.look_for_newer(link.app_key)
        warning = revocation.reason if revocation else ""
        return launchable_of(
            app, trusted, installed, manifest, channel_socket=channel_socket, issue=issue, warning=warning
        )

    async def grant(self, app_key: bytes, digest: bytes, refused: Sequence[str] = ()) -> None:
        """Records the person's yes to the permissions with this digest, less what they `refused`. Raises
        Denied if nobody asks for those."""
        app = self.known(app_key)
        for manifest in await self._asking(app):
            if granting.asked(manifest).digest() == digest:
                granting.approve(app.folder, manifest, refused)
                return
        raise Denied("What was approved is not what the app asks for now.", hint="Run it again.")

    async def permissions(self, app_key: bytes) -> dict[str, Any]:
        """What an installed app asks for and what the person gave: see `granting.overview`. Raises
        NoSuchApp."""
        app = self.known(app_key)
        installed = app.folder.installed
        if installed is None:
            raise NoSuchApp(f"{encode_key(app_key)} is not installed.")
        manifest = await asyncio.to_thread(installed_manifest, app, installed, self.store)
        return {"link": str(Link(app_key)), "name": installed.name, "version": installed.version} | (
            granting.overview(app.folder, manifest)
        )

    async def _asking(self, app: FollowedApp) -> list[Manifest]:
        asking = [] if app.pending is None else [app.pending.manifest]
        if (installed := app.folder.installed) is not None:
            asking.append(await asyncio.to_thread(installed_manifest, app, installed, self.store))
        return asking

    async def seed(self, link: Link, report: Report, *, allow_stale: bool) -> dict[str, Any]:
        """Brings the newest release's blocks here, not installed, and seeds the app without end.

        A link that names a channel moves an app there that is seeded only. Raises UserError for one that is
        installed from another channel.
        """
        app = await self.follow(link)
        await ask(app, report, allow_stale=allow_stale)
        async with self.locks[link.app_key]:
            before, wish = app.link, app.folder.wish or Wish(str(link))
            if moving := _names_another_channel(link, app):
                _check_movable(app, link)
                app.link = replace(app.link, channel=link.channel, names_channel=True)
            try:
                release = await obtain(app, self.store, report, allow_stale=allow_stale)
            except PearrtError:
                app.link = before
                raise
            app.folder.wish = replace(wish, link=str(link) if moving else wish.link, seed=True)
        return {"link": str(app.link), "seeding": True, "version": release.version}

    def stop_seeding(self, app_key: bytes) -> None:
        """Seeds the app no longer than the daemon would anyway."""
        app = self.known(app_key)
        app.folder.wish = replace(app.folder.wish or Wish(str(app.link)), seed=False)

    async def roll_back(self, app_key: bytes) -> dict[str, Any]:
        """One step back to the release before the installed one. Raises as `rollback.roll_back`."""
        self._not_own(app_key)
        app = self.known(app_key)
        async with self.locks[app_key]:
            return roll_back(app)

    def _not_own(self, app_key: bytes) -> None:
        if app_key == self.own:
            raise UserError(
                "That is pearrt itself, as it runs here.",
                hint="`pearrt versions`, `pearrt update` and `pearrt rollback` are for that.",
            )

    async def offer(self, link: Link, *, rooms_only: bool = False) -> list[str]:
        """Serves, to those who review them, the requests that are in release rooms and the bundles that
        requests on the desk name; gives the digests of these."""
        app = await self.follow(link)
        await acquaint(app, self.home)
        await self.rooms.serve(app)
        if rooms_only:
            return []
        return [digest.hex() for digest in await offer_candidates(app, self.store, self.home)]

    async def bring(self, link: Link, release: Release, report: Report, *, whole: bool) -> dict[str, Any]:
        """Fetches a bundle by its digest, released or not, into the store; or its index alone."""
        app = await self.follow(link)
        await acquaint(app, self.home)
        index = await bring_candidate(app, self.store, self.home, release, report, whole=whole)
        return {"blocks": len(index.blocks), "stored_bytes": index.stored_bytes}

    async def uninstall(self, app_key: bytes, *, keep_data: bool) -> None:
        """Leaves the app's swarm and forgets it; its blocks go with the next gc."""
        self._not_own(app_key)
        app = self.known(app_key)
        async with self.locks[app_key]:
            await app.members.leave()
            del self.followed[app_key]
            pins.unpin_all(self.store, app_key)
            await asyncio.to_thread(app.folder.remove, keep_data=keep_data)

    async def verify(self, app_key: bytes, folder: Path | None = None) -> dict[str, Any]:
        """Checks what is installed, or a folder, against what was signed, all offline; see app/verify.py."""
        app = self.known(app_key)
        if folder is None:
            return await asyncio.to_thread(verify_installed, app, self.store)
        return await asyncio.to_thread(verify_folder, app, self.store, folder)

    async def files(self, app_key: bytes, digest: str) -> list[list[Any]]:
        """Path, size and SHA-256 (hex) of every file of an installed release, from its signed index."""
        app = self.known(app_key)
        for installed in (app.folder.installed, app.folder.previous):
            if installed is not None and installed.index_digest == digest:
                index = await asyncio.to_thread(installed_index, installed, self.store)
                return [[file.path, file.size, file.sha256.hex()] for file in index.files]
        raise NoSuchApp(f"{encode_key(app_key)} is not installed in that release.")

    def metadata(self, app_key: bytes) -> dict[str, str]:
        """The signed metadata that is trusted, by the file names of TUF."""
        trusted = self.known(app_key).trusted
        if trusted is None:
            raise NoSuchApp(f"Nothing is known of {encode_key(app_key)} yet.")
        return metadata_files(trusted.metadata)

    async def gc(self, *, fsck: bool, dry_run: bool) -> dict[str, Any]:
        """Frees blocks that nothing pins; with `fsck`, reads all others and drops damaged ones first."""
        checked = await asyncio.to_thread(self.store.fsck) if fsck else None
        freed = await asyncio.to_thread(lambda: self.store.gc(dry_run=dry_run))
        found: dict[str, Any] = {"removed": freed.removed, "freed_bytes": freed.freed_bytes}
        if checked is not None:
            found |= {"checked": checked.checked, "dropped": len(checked.damaged)}
        return found

    # -- how they are

    @property
    def seeding(self) -> bool:
        """Whether any app is to be seeded without end."""
        return any(app.seeding for app in self.followed.values())

    def summaries(self) -> list[dict[str, Any]]:
        """A few facts of every app, by name."""
        found = [
            summary(app, self.running(key)) for key, app in self.followed.items() if app.trusted is not None
        ]
        return sorted(found, key=lambda fields: (fields["name"], fields["link"]))

    async def info(self, link: Link) -> dict[str, Any]:
        """All about one app. For one that is not here, what its peers' metadata says."""
        app = self.followed.get(link.app_key) or await self.follow(link)
        if app.trusted is None:
            await catch_up(app, allow_stale=True)
        assert app.trusted is not None
        asking = await self._asking(app) or await self._offered(app)
        return details(app, app.trusted, self.running(link.app_key)) | {
            "permissions": described(asking),
            "held_back": await asyncio.to_thread(held_back, app, self.store),
            "keeps": await asyncio.to_thread(kept_bytes, app.folder),
            "places": places(app.folder),
        }

    async def log(self, link: Link) -> dict[str, Any]:
        """All releases of an app with who signed them, verified from the link; see app/log.py."""
        app = self.followed.get(link.app_key) or await self.follow(link)
        if app.trusted is None:
            await catch_up(app, allow_stale=True)
        missing = await fetch_log(app, self.store)
        return (await asyncio.to_thread(read_log, app, self.store)) | {"missing": missing}

    async def _offered(self, app: FollowedApp) -> list[Manifest]:
        """The manifest of the newest release, which is not installed: only its index is fetched."""
        release = current_release(app)
        if release is None:
            return []
        return [(await fetch_index(app, self.store, release)).manifest]

    async def apply_update(self, app_key: bytes) -> None:
        """Looks for a newer release now. Raises as `install`."""
        app = self.known(app_key)
        await ask(app, silent)
        async with self.locks[app_key]:
            await self.switching.install(app, silent)

    def known(self, app_key: bytes) -> FollowedApp:
        """The app, which is on this machine. Raises NoSuchApp."""
        app = self.followed.get(app_key)
        if app is None or (app.trusted is None and app.folder.installed is None):
            raise NoSuchApp(f"{encode_key(app_key)} is not on this machine.")
        return app


def _check_movable(app: FollowedApp, link: Link) -> None:
    installed = app.folder.installed
    if installed is not None:
        raise UserError(
            f"{installed.name} is installed here from its channel {app.link.channel!r}, and that is seeded.",
            hint=f"`pearrt run {link}` moves it to {link.channel!r}; then it is seeded from there.",
        )


def _needs_install(link: Link, app: FollowedApp) -> bool:
    """Whether what is installed, if anything, is not to be run."""
    installed = app.folder.installed
    return installed is None or _names_another_channel(link, app) or revocation_of(app, installed) is not None


def _names_another_channel(link: Link, app: FollowedApp) -> bool:
    """Whether the person asks for a channel by name, and for another one than is followed."""
    return link.names_channel and link.channel != app.link.channel
