"""Bundles that are not released yet: seeded for those who review them, fetched by those.

A candidate is what a request on this machine's desk names and no trusted metadata does. It is served to the
app's peers by its digest like any bundle of the app, and is nothing to anyone else: without the signers'
signatures nobody installs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pearrt.app import pins
from pearrt.app.followed import FollowedApp, advertise, read_index
from pearrt.app.install import fetching
from pearrt.app.progress import Report
from pearrt.bundle.index import BLOCK_BYTES, MAX_INDEX_BYTES, Index, refs_of_index
from pearrt.crypto.hashes import DIGEST_BYTES
from pearrt.errors import StoreError, UserError
from pearrt.paths import Home
from pearrt.publish.changes import release_changes
from pearrt.publish.desk import Desk
from pearrt.store.service import Store
from pearrt.trust.release import Release


def candidates(home: Home, app_key: bytes, *, embargoed: bool = True) -> dict[bytes, Release]:
    """The unreleased bundles of all requests on the desk, by index digest; with or without those kept
    back."""
    desk = Desk.of(home.ceremonies, app_key)
    return {
        change.bundle.index_digest: change.bundle
        for request in desk.requests()
        if embargoed or not desk.is_embargoed(request)
        for change in release_changes(request)
        if change.bundle is not None
    }


async def acquaint(app: FollowedApp, home: Home) -> None:
    """Trusts what a request on the desk follows, where nothing is trusted yet: that was verified from root 1.

    So this machine can tell others what is current.
    """
    desk = Desk.of(home.ceremonies, app.link.app_key)
    for request in await asyncio.to_thread(desk.requests):
        if app.trusted is None and request.base is not None:
            app.accept(request.base.metadata.encode(), allow_stale=True)


async def offer_candidates(app: FollowedApp, store: Store, home: Home) -> list[bytes]:
    """Serves the candidates that the store holds and nobody keeps back; gives their index digests."""
    offered = []
    found = await asyncio.to_thread(candidates, home, app.link.app_key, embargoed=False)
    for digest, release in found.items():
        try:
            index = await asyncio.to_thread(read_index, store, digest, release.index_blocks)
        except StoreError:
            continue  # its blocks are elsewhere
        advertise(app, digest, release.index_blocks, index)
        offered.append(digest)
    return offered


async def bring_candidate(
    app: FollowedApp, store: Store, home: Home, release: Release, report: Report, *, whole: bool
) -> Index:
    """Fetches a bundle by what a request says of it, or its index alone; pinned while the request is here.

    Raises NoPeers, DigestMismatch.
    """
    prefix = pins.of_reviews(app.link.app_key)
    wanted = {digest.hex() for digest in await asyncio.to_thread(candidates, home, app.link.app_key)}
    for digest in pins.pinned(store, prefix):
        if digest not in wanted:
            store.unpin(prefix + digest)
    pin = prefix + release.index_digest.hex()
    store.pin(pin, release.index_blocks)
    await app.members.fetch(refs_of_index(release.index_blocks, release.index_size))
    index = await asyncio.to_thread(read_index, store, release.index_digest, release.index_blocks)
    if whole:
        store.pin(pin, [*release.index_blocks, *(block.id for block in index.blocks)])
        advertise(app, release.index_digest, release.index_blocks, index)
        await app.members.fetch(index.blocks, progress=fetching(release, report))
    return index


def named_bundle(fields: Mapping[str, Any]) -> Release:
    """The bundle that a request of the local API names. Raises UserError."""
    try:
        digest, blocks = bytes.fromhex(fields["digest"]), tuple(map(bytes.fromhex, fields["index_blocks"]))
        size = int(fields["size"])
    except (KeyError, TypeError, ValueError) as e:
        raise UserError("The request does not name a bundle.") from e
    if len(digest) != DIGEST_BYTES or {len(block) for block in blocks} != {DIGEST_BYTES}:
        raise UserError("The request names a bundle by other digests than SHA-256.")
    if not 0 < size <= MAX_INDEX_BYTES or len(blocks) != -(-size // BLOCK_BYTES):
        raise UserError("The request names an index of another size than its blocks have.")
    return Release("stable", "any", "", "", 0, digest, size, blocks, "", 0.0)
