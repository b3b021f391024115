"""All apps that one daemon follows: joining their swarms, keeping them current, saying how they are.

Each app has one `FollowedApp` for as long as the daemon lives and one lock, so that two installs of one app
are one. A newer release that a peer tells of is fetched in the background, unless its permissions are wider
than what the person approved: it is then installed at the next start, after the question.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pearrt.app import granting, updates
from pearrt.app.candidates import acquaint, bring_candidate, offer_candidates
from pearrt.app.describe import details, summary
from pearrt.app.durable import make_durable, recover
from pearrt.app.followed import (
    FollowedApp,
    advertise,
    current_release,
    held,
    installed_index,
    installed_manifest,
)
from pearrt.app.freshness import LOOK_EVERY_S, LOOK_SOON_S, look, look_is_due, put_hint
from pearrt.app.handover import give_up_if_moved, has_moved, is_publisher
from pearrt.app.install import catch_up, fetch_index, install, install_release, obtain
from pearrt.app.launch import Launchable
from pearrt.app.library import Library
from pearrt.app.log import fetch_log, keep_log, pin_name, read_log
from pearrt.app.machine import this_machine
from pearrt.app.progress import Report, silent
from pearrt.app.record import Installed, Wish
from pearrt.app.revoked import heed_revocation, revocation_of
from pearrt.app.rollback import roll_back
from pearrt.app.start import Start, launchable_of
from pearrt.app.verify import verify_folder, verify_installed
from pearrt.bundle.index import Index
from pearrt.bundle.manifest import Manifest
from pearrt.dht.service import DhtService
from pearrt.errors import Denied, NoSuchApp, PearrtError, StoreError, UserError
from pearrt.lan.hosts import HostsFinder
from pearrt.link import MAX_HINTS, Link, encode_key
from pearrt.paths import Home
from pearrt.publish.history import leaves
from pearrt.publish.publication import Publication, publications
from pearrt.sandbox.launch import Launch
from pearrt.sandbox.policy import Permissions
from pearrt.store.service import Store
from pearrt.swarm.service import SwarmService
from pearrt.trust.app import Verdict
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
        self.tasks = tasks
        self.dht = dht
        self.psk = psk
        self.library = Library(home.apps)
        self.machine = this_machine(home.data)
        self.followed: dict[bytes, FollowedApp] = {}
        self.locks: dict[bytes, asyncio.Lock] = {}
        self.following = asyncio.Lock()
        self.updating: set[bytes] = set()
        self.look_again: set[bytes] = set()
        self.background: set[asyncio.Task[None]] = set()
        self.own = b""  # the app key of pearrt's own releases, where this process runs one of them
        self.own_update: Callable[[], Awaitable[None]] = _nothing
        self.running: Callable[[bytes], int] = lambda _: 0
        self.hinted: dict[bytes, bytes] = {}  # the timestamps that lie in the DHT
        self.on_event: Callable[[bytes, dict[str, Any]], None] = lambda *_: None
        self.on_trust: Callable[[bytes], None] = lambda _: None

    # -- following

    async def restore(self) -> None:
        """Joins again the swarms of all apps known here."""
        for folder in self.library:
            wish = folder.wish
            link = Link.parse(wish.link) if wish else Link(folder.app_key)
            try:
                await asyncio.to_thread(recover, folder, self.store)
                await self.follow(link)
            except PearrtError as e:
                log.warning("%s is not followed: %s", encode_key(folder.app_key)[:8], e)

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
        app.members.on_newer = lambda _: self._newer(link.app_key)
        app.on_proof = app.members.proof_found
        app.members.on_confirmed = app.confirm
        self.followed[link.app_key] = app
        self.locks[link.app_key] = asyncio.Lock()
        for digest, index_blocks, index in await asyncio.to_thread(held, app, self.store):
            advertise(app, digest, index_blocks, index)
        await offer_candidates(app, self.store, self.home)
        if app.trusted is not None:
            await asyncio.to_thread(keep_log, app, self.store)
        return app

    def _newer(self, app_key: bytes) -> None:
        """Looks for a newer release in the background; what is heard during a look makes for another one."""
        if app_key in self.updating:
            self.look_again.add(app_key)
        else:
            self.updating.add(app_key)
            self._in_background(self._update(app_key))

    def close(self) -> None:
        """Ends background updates; what they fetched is kept."""
        self.look_again.clear()
        for task in list(self.background):
            task.cancel()

    async def _update(self, app_key: bytes) -> None:
        app = self.followed.get(app_key)
        if app is None:
            return
        try:
            async with self.locks[app_key]:
                await give_up_if_moved(app, self.home)
                if app_key == self.own:
                    pass  # pearrt's own releases are taken with more care: see `own_update`
                elif app.folder.installed is not None:
                    await self._install(app, silent, foreground=False)
                elif app.seeding and not app.published:
                    await obtain(app, self.store, silent, foreground=False)
                elif app.trusted is not None and not app.published:
                    await catch_up(app)  # looked at or reviewed here: what others are told is current
            await fetch_log(app, self.store)
            if app_key == self.own:
                await self.own_update()
        except PearrtError as e:
            log.warning("update of %s: %s", encode_key(app_key)[:8], e)
            self.on_trust(app_key)  # what is signed may be newer although nothing was installed
        except Exception:
            log.exception("our own bug in an update of %s", encode_key(app_key)[:8])
        finally:
            self._look(app, LOOK_SOON_S)
            self.updating.discard(app_key)
            if app_key in self.look_again:
                self.look_again.discard(app_key)
                self._newer(app_key)

    async def _install(
        self,
        app: FollowedApp,
        report: Report,
        *,
        allow_stale: bool = False,
        foreground: bool = True,
        eager: bool = False,
    ) -> Installed:
        before, pending = app.folder.installed, app.pending
        installed = await install(
            app,
            self.store,
            report,
            allow_stale=allow_stale,
            foreground=foreground,
            eager=eager,
            may_switch=lambda index: _may_switch(app, index),
        )
        self._switched(app, before, installed)
        if app.pending is not None and (pending is None or pending.version != app.pending.version):
            self._tell_ready(app, installed.index_digest)
        return installed

    async def install_verified(self, app: FollowedApp, release: Release, report: Report) -> Installed:
        """Installs a trusted release whose blocks are all in the store; asks nobody. Hold the app's lock."""
        before = app.folder.installed
        installed = await install_release(
            app, self.store, release, report, may_switch=lambda index: _may_switch(app, index)
        )
        self._switched(app, before, installed)
        return installed

    def _switched(self, app: FollowedApp, before: Installed | None, installed: Installed) -> None:
        if before is not None and installed.version != before.version:
            log.info("%s: %s is installed", installed.name, installed.version)
            updates.note_switch(app, self.store, before, installed)
            self._tell_ready(app, before.index_digest)
        self.on_trust(app.link.app_key)
        if before is None or installed.index_digest != before.index_digest:
            # A thread that nobody waits for: the daemon may end in the middle, its sandbox ends with it.
            threading.Thread(target=_settle, args=(app, installed, self.store), daemon=True).start()

    def _tell_ready(self, app: FollowedApp, running_digest: str) -> None:
        if (told := updates.ready(app, running_digest)) is not None:
            self.on_event(app.link.app_key, {"event": "update-ready", **told})

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        self.background.add(task := self.tasks.create_task(work))
        task.add_done_callback(self.background.discard)

    # -- what the local API offers

    async def install(self, link: Link, report: Report, *, update: bool, allow_stale: bool) -> dict[str, Any]:
        """Brings the app here; with `update`, also when some release of it is here already."""
        self._not_own(link.app_key)
        app = await self.follow(link)
        async with self.locks[link.app_key]:
            installed, before = app.folder.installed, app.link
            moving = _names_another_channel(link, app)
            if moving:
                app.link = replace(app.link, channel=link.channel, names_channel=True)
            if installed is None or update or moving or revocation_of(app, installed):
                try:
                    installed = await self._install(
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
        self._newer(link.app_key)
        warning = revocation.reason if revocation else ""
        return launchable_of(
            app, trusted, installed, manifest, channel_socket=channel_socket, issue=issue, warning=warning
        )

    async def grant(self, app_key: bytes, digest: bytes, refused: Sequence[str] = ()) -> None:
        """Records the person's yes to the permissions with this digest, less what they `refused`. Raises
        Denied if nobody asks for those."""
        app = self._known(app_key)
        for manifest in await self._asking(app):
            if Permissions.parse(manifest.permissions).digest() == digest:
                granting.approve(app.folder, manifest, refused)
                return
        raise Denied("What was approved is not what the app asks for now.", hint="Run it again.")

    async def permissions(self, app_key: bytes) -> dict[str, Any]:
        """What an installed app asks for and what the person gave: see `granting.overview`. Raises
        NoSuchApp."""
        app = self._known(app_key)
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
        """Brings the newest release's blocks here, not installed, and seeds the app without end."""
        app = await self.follow(link)
        async with self.locks[link.app_key]:
            release = await obtain(app, self.store, report, allow_stale=allow_stale)
            app.folder.wish = replace(app.folder.wish or Wish(str(link)), seed=True)
        return {"link": str(app.link), "seeding": True, "version": release.version}

    def stop_seeding(self, app_key: bytes) -> None:
        """Seeds the app no longer than the daemon would anyway."""
        app = self._known(app_key)
        app.folder.wish = replace(app.folder.wish or Wish(str(app.link)), seed=False)

    async def publish(self, link: Link) -> dict[str, Any]:
        """Takes over what was committed to this machine's publication of the app: trusts, seeds and gossips
        it."""
        publication = await asyncio.to_thread(Publication.open, self.home.publishing / link.key_text)
        app = await self.follow(link)
        app.published = True
        async with self.locks[link.app_key]:
            app.accept(publication.metadata.encode(), allow_stale=True)
            await asyncio.to_thread(keep_log, app, self.store, leaves(publication.folder))
            for digest, index_blocks, index in await asyncio.to_thread(held, app, self.store):
                advertise(app, digest, index_blocks, index)
            app.members.timestamp_changed()
            app.folder.wish = replace(app.folder.wish or Wish(str(link)), seed=True)
        self._in_background(self._put_hint(publication))
        if link.app_key == self.own or app.folder.installed is not None:
            self._newer(link.app_key)
        return await self.info(link)

    async def roll_back(self, app_key: bytes) -> dict[str, Any]:
        """One step back to the release before the installed one. Raises as `rollback.roll_back`."""
        self._not_own(app_key)
        app = self._known(app_key)
        async with self.locks[app_key]:
            return roll_back(app)

    def _not_own(self, app_key: bytes) -> None:
        if app_key == self.own:
            raise UserError(
                "That is pearrt itself, as it runs here.",
                hint="`pearrt versions`, `pearrt update` and `pearrt rollback` are for that.",
            )

    async def offer(self, link: Link) -> list[str]:
        """Serves, to those who review them, the bundles that requests on the desk name; gives their
        digests."""
        app = await self.follow(link)
        await acquaint(app, self.home)
        return [digest.hex() for digest in await offer_candidates(app, self.store, self.home)]

    async def bring(self, link: Link, release: Release, report: Report, *, whole: bool) -> dict[str, Any]:
        """Fetches a bundle by its digest, released or not, into the store; or its index alone."""
        app = await self.follow(link)
        await acquaint(app, self.home)
        index = await bring_candidate(app, self.store, self.home, release, report, whole=whole)
        return {"blocks": len(index.blocks), "stored_bytes": index.stored_bytes}

    async def beat(self) -> None:
        """Re-signs, for every app published from here, that its newest release is current, when that is
        due. What was committed while no daemon took it over is published now."""
        for folder in publications(self.home.publishing):
            try:
                publication = await asyncio.to_thread(Publication.open, folder)
                app = self.followed.get(publication.app_key)
                if app is not None and app.trusted is not None and has_moved(app.trusted, publication):
                    continue
                if publication.refresh_due(time.time()):
                    publication = await asyncio.to_thread(publication.refresh, time.time())
                if publication.trusted.releases and not self._knows(publication):
                    await self.publish(Link(publication.app_key))
                await self._put_hint(publication)
            except PearrtError as e:
                log.warning("heartbeat of %s: %s", folder.name[:8], e)
        for app in list(self.followed.values()):
            with contextlib.suppress(StoreError):
                app.save_confirmations()
            self._look(app, LOOK_EVERY_S)

    async def _put_hint(self, publication: Publication) -> None:
        """Stores the newest timestamp in the DHT, unless it lies there: the DHT's service keeps it alive."""
        app, raw = self.followed.get(publication.app_key), publication.metadata.timestamp
        if self.dht is None or app is None or self.hinted.get(publication.app_key) == raw:
            return
        try:
            if await put_hint(app, self.dht, publication.heartbeat.seed):
                self.hinted[publication.app_key] = raw
        except Exception:
            log.exception("our own bug in telling the DHT of %s", encode_key(publication.app_key)[:8])

    def _look(self, app: FollowedApp, every_s: float) -> None:
        """Asks the DHT, in the background, what the publisher said last, where no peer confirmed the app."""
        if self.dht is not None and look_is_due(app, time.time(), every_s):
            self._in_background(self._look_in(app, self.dht))

    async def _look_in(self, app: FollowedApp, dht: DhtService) -> None:
        try:
            if await look(app, dht) in (Verdict.NEWER, Verdict.LATER_ROOT):
                self._newer(app.link.app_key)
        except Exception:
            log.exception("our own bug in looking for news of %s", encode_key(app.link.app_key)[:8])

    def _knows(self, publication: Publication) -> bool:
        app = self.followed.get(publication.app_key)
        return app is not None and app.trusted is not None and app.trusted.metadata == publication.metadata

    async def uninstall(self, app_key: bytes, *, keep_data: bool) -> None:
        """Leaves the app's swarm and forgets it; its blocks go with the next gc."""
        self._not_own(app_key)
        app = self._known(app_key)
        async with self.locks[app_key]:
            await app.members.leave()
            del self.followed[app_key]
            for name in self.store.pins():
                if name.startswith(encode_key(app_key)) or name == pin_name(app_key):
                    self.store.unpin(name)
            await asyncio.to_thread(app.folder.remove, keep_data=keep_data)

    async def verify(self, app_key: bytes, folder: Path | None = None) -> dict[str, Any]:
        """Checks what is installed, or a folder, against what was signed, all offline; see app/verify.py."""
        app = self._known(app_key)
        if folder is None:
            return await asyncio.to_thread(verify_installed, app, self.store)
        return await asyncio.to_thread(verify_folder, app, self.store, folder)

    async def files(self, app_key: bytes, digest: str) -> list[list[Any]]:
        """Path, size and SHA-256 (hex) of every file of an installed release, from its signed index."""
        app = self._known(app_key)
        for installed in (app.folder.installed, app.folder.previous):
            if installed is not None and installed.index_digest == digest:
                index = await asyncio.to_thread(installed_index, installed, self.store)
                return [[file.path, file.size, file.sha256.hex()] for file in index.files]
        raise NoSuchApp(f"{encode_key(app_key)} is not installed in that release.")

    def metadata(self, app_key: bytes) -> dict[str, str]:
        """The signed metadata that is trusted, by the file names of TUF."""
        trusted = self._known(app_key).trusted
        if trusted is None:
            raise NoSuchApp(f"Nothing is known of {encode_key(app_key)} yet.")
        blobs = {f"{version}.root.json": raw for version, raw in enumerate(trusted.metadata.roots, 1)}
        blobs |= {
            name + ".json": getattr(trusted.metadata, name) for name in ("timestamp", "snapshot", "targets")
        }
        blobs |= {f"{name}.json": raw for name, raw in trusted.metadata.delegated.items()}
        return {name: raw.decode() for name, raw in blobs.items()}

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
        permissions: list[str] = []
        for manifest in await self._asking(app) or await self._offered(app):
            permissions = Permissions.parse(manifest.permissions).describe()
        return details(app, app.trusted, self.running(link.app_key)) | {"permissions": permissions}

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
        app = self._known(app_key)
        async with self.locks[app_key]:
            await self._install(app, silent)

    def known(self, app_key: bytes) -> FollowedApp:
        """The app, which is on this machine. Raises NoSuchApp."""
        return self._known(app_key)

    def _known(self, app_key: bytes) -> FollowedApp:
        app = self.followed.get(app_key)
        if app is None or (app.trusted is None and app.folder.installed is None):
            raise NoSuchApp(f"{encode_key(app_key)} is not on this machine.")
        return app


async def _nothing() -> None:
    pass


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


def _names_another_channel(link: Link, app: FollowedApp) -> bool:
    """Whether the person asks for a channel by name, and for another one than is followed."""
    return link.names_channel and link.channel != app.link.channel


def _may_switch(app: FollowedApp, index: Index) -> bool:
    """A new release takes over unless it asks for more than was granted while an older one can still run."""
    return app.folder.installed is None or granting.covers(app.folder, index.manifest)
