"""Sneakernet, the taking side: apps out of a `.pear` file, with no network and with the same rules.

    file -> metadata verified -> release -> index -> blocks into the store -> trusted -> unpack -> seed

A file is one more stranger that offers metadata and blocks. Nothing of an app is recorded before its metadata
is verified from the link (or as an update of what is trusted) and every block of its release is in the store
under its own hash; what fails on the way leaves the machine as it was. A file that is older than what this
machine trusts changes nothing, but it may bring the blocks of what is trusted. The first app of the file is
installed, the others (the runtime, say) are ready to be.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pearrt.app import pins
from pearrt.app.apps import Apps
from pearrt.app.followed import FollowedApp, advertise, current_choice
from pearrt.app.install import chosen
from pearrt.app.log import keep_log, leaf_ids
from pearrt.app.progress import Progress, Report, Stage
from pearrt.app.record import Wish
from pearrt.bundle.index import Index
from pearrt.bundle.pear_file import PearFile
from pearrt.crypto.hashes import sha256
from pearrt.errors import DigestMismatch, Equivocation, NoSuchBlock, ProtocolViolation, Rollback, UserError
from pearrt.link import Link
from pearrt.store.service import Store
from pearrt.trust.release import Release


@dataclass(frozen=True, slots=True)
class Carried:
    """One app of a file, verified. `older`: its metadata is behind what is trusted here already. `leaves`: of
    the log of its releases, as far as the file holds them."""

    link: Link
    metadata: bytes
    older: bool
    release: Release
    index: Index
    leaves: list[tuple[bytes, bytes]]


async def import_file(
    apps: Apps, path: Path, report: Report, *, allow_stale: bool = False, seed: bool = False
) -> dict[str, Any]:
    """Brings the apps of a `.pear` file onto this machine and installs the first; `seed`: without end.

    Raises UserError where it cannot be read or holds nothing for this machine, RemoteError or TrustError for
    what breaks a rule: Rollback, say, where it is older than what is trusted and of no use.
    """
    file = await asyncio.to_thread(PearFile, path)
    with file:
        links = [Link.parse(text) for text in file.links]
        carried = [await _checked(apps, file, link, allow_stale=allow_stale) for link in links]
        for each in carried:
            await asyncio.to_thread(_store_blocks, apps.store, file, each, report)
    first = await _take(apps, carried[0], report, allow_stale=allow_stale, install=True)
    for each in carried[1:]:
        await _take(apps, each, report, allow_stale=allow_stale, install=False)
    if seed:
        first.folder.wish = replace(first.folder.wish or Wish(str(links[0])), seed=True)
    installed = first.folder.installed
    assert installed is not None
    return {
        "link": str(links[0]),
        "name": installed.name,
        "version": installed.version,
        "sequence": installed.sequence,
        "waiting": first.pending.version if first.pending else None,
        "apps": [str(each.link) for each in carried],
    }


async def _checked(apps: Apps, file: PearFile, link: Link, *, allow_stale: bool) -> Carried:
    try:
        return await asyncio.to_thread(_check, apps, file, link, allow_stale=allow_stale)
    except Equivocation:
        if known := apps.followed.get(link.app_key):
            known.on_proof()  # what the file proves is passed on
        raise


def _check(apps: Apps, file: PearFile, link: Link, *, allow_stale: bool) -> Carried:
    """Verifies one app of the file against the link and against what is trusted here; records nothing."""
    known = apps.followed.get(link.app_key)
    link = known.link if known else link
    app = FollowedApp(link, apps.library.folder(link.app_key), psk=apps.psk, machine=apps.machine)
    raw = file.metadata(link.app_key)
    older: Rollback | None = None
    try:
        app.trusted = app.judge(raw, allow_stale=allow_stale)
    except Rollback as e:
        older = e
    assert app.trusted is not None
    if app.folder.installed is None and not allow_stale:
        app.trusted.check_expiry(time.time())  # having heard of it before was no yes
    choice = current_choice(app, eager=True)  # the person brought it
    if choice is None or choice.newest is None:
        raise UserError(f"The app has no release for this machine in channel {link.channel!r}.")
    release = chosen(app, choice)
    if older is not None and not set(release.index_blocks) <= set(file.block_ids()):
        raise Rollback(
            f"{file.path} is older than what this machine trusts: {older.message}",
            hint="Nothing was changed. Look for a newer file, or `pearrt run` its link.",
        ) from older
    index = _index(apps.store, file, release)
    _check_whole(apps.store, file, release, index)
    leaves = [(leaf, file.block(leaf)) for leaf in {*leaf_ids(app)} & {*file.block_ids()}]
    return Carried(link, raw, older is not None, release, index, leaves)


def _index(store: Store, file: PearFile, release: Release) -> Index:
    """The release's index out of the file or the store. Raises DigestMismatch, ProtocolViolation."""
    data = b"".join(_block(store, file, block_id) for block_id in release.index_blocks)
    if sha256(data) != release.index_digest:
        raise DigestMismatch(f"The index in {file.path} is not the one that was signed.")
    return Index.parse(data)


def _block(store: Store, file: PearFile, block_id: bytes) -> bytes:
    try:
        return file.block(block_id)
    except NoSuchBlock:
        if store.has(block_id):
            return store.get(block_id)
        raise


def _check_whole(store: Store, file: PearFile, release: Release, index: Index) -> None:
    here = set(file.block_ids())
    missing = [block for block in index.blocks if block.id not in here and not store.has(block.id)]
    if missing:
        raise ProtocolViolation(
            f"{file.path} lacks {len(missing)} of the {len(index.blocks)} blocks of {release.name}"
            f" {release.version}.",
            hint="Export it again, or fetch the app by its link.",
        )


def _store_blocks(store: Store, file: PearFile, carried: Carried, report: Report) -> None:
    """Every block into the store, hashed on the way. Where one is another, the pin goes again."""
    release, index = carried.release, carried.index
    name = pins.of_releases(carried.link.app_key) + release.index_digest.hex()
    pinned_before = name in store.pins()
    sizes = {block.id: block.size for block in index.blocks}
    wanted = [*release.index_blocks, *sizes]
    store.pin(name, wanted)
    done, total = 0, index.stored_bytes
    try:
        for block_id in wanted:
            if not store.has(block_id):
                store.put(block_id, file.block(block_id))
            done += sizes.get(block_id, 0)
            report(Progress(Stage.READING, done, total, release.version))
    except BaseException:
        if not pinned_before:
            store.unpin(name)
        raise


async def _take(
    apps: Apps, carried: Carried, report: Report, *, allow_stale: bool, install: bool
) -> FollowedApp:
    """Trusts what was verified, and installs or advertises it: the part that others see."""
    app = await apps.follow(carried.link)
    async with apps.locks[carried.link.app_key]:
        if not carried.older:
            app.accept(carried.metadata, allow_stale=allow_stale)
            app.members.timestamp_changed()
        await asyncio.to_thread(keep_log, app, apps.store, carried.leaves)
        if install:
            await apps.switching.install_verified(app, carried.release, report)
        else:
            advertise(app, carried.release.index_digest, carried.release.index_blocks, carried.index)
        if app.folder.wish is None:
            app.folder.wish = Wish(str(carried.link))
    return app
