"""The steps of one installation, in order: `find` the release, `fetch` its blocks, `unpack` its tree.

What is here already is not fetched again: trust, blocks and a whole tree count, whoever brought them.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bootstrap.agreement import Agreement, agree, pick
from bootstrap.discovery import Discovery, Places
from bootstrap.pool import Pool
from bootstrap.screen import Screen, size
from pearrt.app.library import AppFolder
from pearrt.app.removal import remove_tree
from pearrt.bundle.index import BlockRef, Index, refs_of_index
from pearrt.bundle.unpack import unpack
from pearrt.bundle.verify import verify_tree
from pearrt.crypto.hashes import sha256
from pearrt.errors import Corrupt, DigestMismatch, Full, NetworkError, ProtocolViolation
from pearrt.link import Link, encode_key
from pearrt.store.service import Store
from pearrt.trust.release import Release

SHORT_S = 2.0  # to look for news where there is a release already, or one place only
ATTEMPTS = 3
ROOM_LEFT_BYTES = 16 << 20  # beyond the release itself: metadata, journals, the app's own first files


@dataclass(frozen=True, slots=True)
class Task:
    """What to install and where to look for it: places of the network, a `.pear` file, or both."""

    link: Link
    places: Places
    file: Path | None = None
    psk: bytes = b""
    allow_stale: bool = False
    timeout_s: float = 30.0


class Installation:
    """Works on an open store, with an open pool, towards the folder of the runtime's app."""

    def __init__(self, task: Task, app: AppFolder, store: Store, pool: Pool, screen: Screen) -> None:
        self._task = task
        self._app = app
        self._store = store
        self._pool = pool
        self._screen = screen

    def find(self, agreement: Agreement, discovery: Discovery) -> Release:
        """The release to install, out of what the sources vouch for; where there are none, out of what was
        trusted before, if all its blocks are here. Raises NoPeers, TrustError, UserError."""
        self._screen.step("looking for pearrt's releases")
        before = agreement.trusted
        complete = before is not None and self._is_complete(pick(before, self._task.link))
        short = complete or self._task.places == Places()
        timeout_s = min(SHORT_S, self._task.timeout_s) if short else self._task.timeout_s
        try:
            trusted = agree(agreement, self._pool, discovery, timeout_s)
        except NetworkError:
            if before is None or not complete:
                raise
            if not self._task.allow_stale:
                before.check_expiry(time.time())
            trusted = before
        return pick(trusted, self._task.link)

    def fetch(self, release: Release) -> Index:
        """All blocks of the release into the store, pinned; gives the index. Raises Full, NoPeers."""
        self._pin(release, ())
        self._bring(refs_of_index(release.index_blocks, release.index_size))
        index = self._read_index(release)
        self._pin(release, [block.id for block in index.blocks])
        missing = [block for block in index.blocks if not self._store.has(block.id)]
        self._check_room(sum(block.size for block in missing) + index.tree_bytes)
        self._screen.step(f"fetching pearrt {release.version}")
        self._bring(missing)
        return index

    def unpack(self, release: Release, index: Index) -> None:
        """The release's tree, whole and durable. A block that was damaged on disk is fetched once more."""
        self._app.create()
        tree = self._app.tree(release.index_digest.hex())
        for leftover in self._app.releases.glob(".*.tmp"):
            remove_tree(leftover)
        if tree.exists() and verify_tree(index, tree):
            remove_tree(tree)
        for attempt in range(ATTEMPTS):
            if tree.exists():
                return
            self._screen.step(f"unpacking pearrt {release.version}")
            try:
                unpack(index, self._store.get, tree, progress=self._screen.progress)
            except Corrupt:
                if attempt == ATTEMPTS - 1:
                    raise
                self._bring(index.blocks)

    def _bring(self, blocks: Iterable[BlockRef]) -> None:
        missing = [block for block in blocks if not self._store.has(block.id)]
        self._pool.fetch(missing, self._store.put, self._screen.progress)

    def _is_complete(self, release: Release) -> bool:
        if not all(self._store.has(block_id) for block_id in release.index_blocks):
            return False
        try:
            index = self._read_index(release)
        except (Corrupt, DigestMismatch):
            return False
        return all(self._store.has(block.id) for block in index.blocks)

    def _read_index(self, release: Release) -> Index:
        data = b"".join(self._store.get(block_id) for block_id in release.index_blocks)
        if sha256(data) != release.index_digest:
            raise DigestMismatch("The blocks of the index are not the index that was signed.")
        index = Index.parse(data)
        if index.codec == "zstd":
            raise ProtocolViolation(
                "This release is packed with zstd, which the standard library cannot read.",
                hint="The runtime's publisher has to stage it with xz or zlib.",
            )
        return index

    def _pin(self, release: Release, blocks: Iterable[bytes]) -> None:
        name = f"{encode_key(self._app.app_key)}-{release.index_digest.hex()}"
        self._store.pin(name, [*release.index_blocks, *blocks])

    def _check_room(self, needed: int) -> None:
        needed, free = needed + ROOM_LEFT_BYTES, shutil.disk_usage(self._store.root).free
        if needed > free:
            raise Full(
                f"pearrt needs {size(needed)} more; {size(free)} are free in {self._store.root}.",
                hint="Free some disk space, or set PEARRT_HOME to a folder on a larger disk; run it again.",
            )
