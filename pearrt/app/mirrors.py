"""The mirrors that a link names, as sources beside the peers: metadata and blocks over HTTP.

A mirror is one more stranger. What it says is verified like a peer's word, and a block is hashed before it is
kept; one that sends something else is asked for nothing more. Mirrors are asked together with peers for
metadata, and for blocks where no peer is there or none gives them. In a private network they are not used:
they stand outside of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from pearrt.app.followed import FollowedApp
from pearrt.bundle.index import BlockRef
from pearrt.errors import BadLink, NetworkError, RemoteError, TrustError
from pearrt.gateway.mirror import MAX_CONNECTIONS, Mirror
from pearrt.store.service import Store

MIRROR = "mirror"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Offered:
    """Metadata as somebody gave it, unverified. `source`: a mirror's host, "" for a peer."""

    metadata: bytes
    source: str = ""


async def offers(app: FollowedApp) -> AsyncGenerator[Offered, None]:
    """Metadata from peers and from the link's mirrors, as the answers come.

    Peers are not waited for where a mirror has answered and none is there. Raises NoPeers where nobody
    answers.
    """
    peers = app.members.offers(app.first_root_wanted)
    asked = asyncio.create_task(_ask_mirrors(app))
    async with contextlib.aclosing(peers):
        first = asyncio.ensure_future(anext(peers, None))
        try:
            if app.mirrors:
                await asyncio.wait((first, asked), return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                for offer in asked.result():
                    yield offer
                if asked.result() and not app.members.peers:
                    return
            try:
                offer_of_peer = await first
            except NetworkError:
                if not (found := await asked):
                    raise
                for offer in found:
                    yield offer
                return
            if offer_of_peer is not None:
                yield Offered(offer_of_peer.metadata)
            async for each in peers:
                yield Offered(each.metadata)
        finally:
            for task in (asked, first):
                task.cancel()
            await asyncio.gather(asked, first, return_exceptions=True)


async def _ask_mirrors(app: FollowedApp) -> list[Offered]:
    """What the mirrors answer; those that do not are left out."""

    async def ask(base: str) -> Offered | None:
        try:
            async with Mirror(base) as mirror:
                metadata = await mirror.metadata(app.link.app_key, app.first_root_wanted)
                return Offered(metadata, urlsplit(base).netloc)
        except (NetworkError, RemoteError, BadLink) as e:
            log.info("mirror %s: %s", base, e)
            return None

    return [found for found in await asyncio.gather(*map(ask, app.mirrors)) if found is not None]


async def fetch_blocks(
    app: FollowedApp,
    store: Store,
    blocks: Sequence[BlockRef],
    peers: Callable[[], Awaitable[None]],
) -> bool:
    """Brings blocks into the store: `peers` fetches from peers and raises NetworkError where they fail.

    Whether mirrors were asked: the app's peers were not told then of what came.
    """
    alone = bool(app.mirrors) and not app.members.peers
    if alone:
        await _from_mirrors(app, store, blocks)
    try:
        await peers()
    except NetworkError:
        if not app.mirrors or await _from_mirrors(app, store, blocks):
            raise
        return True
    return alone


async def _from_mirrors(app: FollowedApp, store: Store, blocks: Sequence[BlockRef]) -> int:
    """Fetches what the store lacks from one mirror after another; how many blocks are missing then."""
    missing = [block.id for block in blocks if not store.has(block.id)]
    for base in app.mirrors:
        try:
            async with Mirror(base) as mirror:
                await _fetch_all(mirror, store, missing)
        except (NetworkError, RemoteError, TrustError, BadLink) as e:
            log.warning("mirror %s: %s", base, e)
        missing = [block_id for block_id in missing if not store.has(block_id)]
        if not missing:
            break
    return len(missing)


async def _fetch_all(mirror: Mirror, store: Store, block_ids: Sequence[bytes]) -> None:
    """Raises what the first failing request raises; the others end."""
    waiting = iter(block_ids)

    async def work() -> None:
        for block_id in waiting:
            data = await mirror.block(block_id)
            await asyncio.to_thread(store.put, block_id, data)

    workers = [asyncio.create_task(work()) for _ in range(MAX_CONNECTIONS)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
