"""Sneakernet, the giving side: an app as one `.pear` file that whoever gets it verifies without any network.

The file holds the trusted metadata with all roots, and every block of the channel's release for this machine,
index included. What else of the channel the store holds whole (the release before a rollout, variants for
other machines) goes along, so that a machine that would choose one of those finds it. Nothing is fetched
where all is here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pearrt.app.apps import Apps
from pearrt.app.followed import FollowedApp, current_release, read_index
from pearrt.app.install import ask, obtain
from pearrt.app.log import leaf_ids
from pearrt.app.progress import Progress, Report, Stage
from pearrt.bundle.index import Index
from pearrt.bundle.pear_file import write_pear
from pearrt.errors import StoreError, UserError
from pearrt.link import Link
from pearrt.store.service import Store
from pearrt.trust.release import Release

PROGRESS_EVERY_BLOCKS = 16


@dataclass(frozen=True, slots=True)
class Parcel:
    """One app as it goes into the file: its encoded metadata, and the ids of blocks that the store holds."""

    link: Link
    version: str
    metadata: bytes
    block_ids: frozenset[bytes]


async def export(
    apps: Apps, links: list[Link], path: Path, report: Report, *, allow_stale: bool = False
) -> dict[str, Any]:
    """Writes the apps behind `links`, the one to run first, to `path`; replaces it whole or not at all.

    What is not here is fetched. Raises as `install` does, UserError where there is no such folder.
    """
    await asyncio.to_thread(_check_place, path)
    parcels = [await _parcel(apps, link, report, allow_stale=allow_stale) for link in links]
    blocks = sorted(frozenset().union(*(parcel.block_ids for parcel in parcels)))

    def write() -> int:
        write_pear(
            path,
            [str(parcel.link) for parcel in parcels],
            {parcel.link.app_key: parcel.metadata for parcel in parcels},
            _read(apps.store, blocks, report, parcels[0].version),
        )
        return path.stat().st_size

    written = await asyncio.to_thread(write)
    return {
        "file": str(path),
        "links": [str(parcel.link) for parcel in parcels],
        "version": parcels[0].version,
        "blocks": len(blocks),
        "bytes": written,
    }


def _check_place(path: Path) -> None:
    if not path.parent.is_dir() or path.is_dir():
        raise UserError(f"Cannot write {path}: name a file in a folder that exists.")


async def _parcel(apps: Apps, link: Link, report: Report, *, allow_stale: bool) -> Parcel:
    app = await apps.follow(link)
    release = current_release(app)
    if release is None or not await asyncio.to_thread(_block_ids, apps.store, release):
        await ask(app, report, allow_stale=allow_stale)
    async with apps.locks[link.app_key]:
        release = current_release(app)
        if release is None or not await asyncio.to_thread(_block_ids, apps.store, release):
            release = await obtain(app, apps.store, report, allow_stale=allow_stale)
        ids = await asyncio.to_thread(_all_block_ids, apps.store, app, release)
        assert app.trusted is not None
        # The hints stay at home: they name hosts of this network.
        plain = Link(link.app_key, channel=app.link.channel)
        return Parcel(plain, release.version, app.trusted.metadata.encode(), ids)


def _all_block_ids(store: Store, app: FollowedApp, release: Release) -> frozenset[bytes]:
    """The release's blocks, those of the channel's other releases that are here whole, and the log's."""
    assert app.trusted is not None
    releases = [each for each in app.trusted.releases if each.channel == release.channel]
    releases += [each.before for each in releases if each.before is not None]
    found = [_block_ids(store, each) for each in (release, *releases)]
    assert found[0], "obtained, yet not here"
    return frozenset().union(*found, filter(store.has, leaf_ids(app)))


def _block_ids(store: Store, release: Release) -> frozenset[bytes]:
    """All blocks of a release, its index's own among them; none unless the store holds every one."""
    index = _index(store, release)
    ids = frozenset(release.index_blocks) | {block.id for block in index.blocks} if index else frozenset()
    return ids if all(map(store.has, ids)) else frozenset()


def _index(store: Store, release: Release) -> Index | None:
    try:
        return read_index(store, release.index_digest, release.index_blocks)
    except StoreError:
        return None


def _read(store: Store, ids: list[bytes], report: Report, detail: str) -> Iterator[tuple[bytes, bytes]]:
    done = 0
    for position, block_id in enumerate(ids):
        data = store.get(block_id)
        done += len(data)
        if position % PROGRESS_EVERY_BLOCKS == 0:
            report(Progress(Stage.WRITING, done, 0, detail))
        yield block_id, data
