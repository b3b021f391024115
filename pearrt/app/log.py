"""The log of an app's releases on this machine: kept, given onward, listed with who signed what.

The leaf hashes are part of the trusted metadata (`trust/log.py`); the leaves are blocks of the store, pinned
as `log-<55-letter key>`, which any peer of the app is asked for and any is given. What is listed is verified
from the link alone: the roots from the app key on, each leaf by its hash in the signed log, its signatures by
the root of its time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from pearrt.app import pins
from pearrt.app.describe import witnesses
from pearrt.app.followed import FollowedApp
from pearrt.bundle.index import BlockRef
from pearrt.codec import canonical
from pearrt.crypto.hashes import sha256
from pearrt.errors import NetworkError, StoreError
from pearrt.link import encode_key
from pearrt.store.service import Store
from pearrt.trust.app import TrustedApp
from pearrt.trust.history import TARGETS, Past, read_history
from pearrt.trust.log import split
from pearrt.trust.merkle import LEAF
from pearrt.trust.release import Release

PATIENCE_S = 5.0

log = logging.getLogger(__name__)


def leaf_ids(app: FollowedApp) -> list[bytes]:
    """The leaves of all logs of the app, its channels' among them, oldest first."""
    if app.trusted is None:
        return []
    return [leaf for _, log in sorted(app.trusted.metadata.logs.items()) for leaf in split(log)]


def current_leaves(app: FollowedApp) -> Iterator[tuple[bytes, bytes]]:
    """(id, leaf) of what is current: the next versions' logs will name it."""
    if app.trusted is not None:
        for role in (app.trusted.targets, *app.trusted.channels.values()):
            leaf = LEAF + role.envelope.payload
            yield sha256(leaf), leaf


def keep_log(app: FollowedApp, store: Store, leaves: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Puts what is current, and `leaves`, into the store, and pins and serves the whole log. Blocking.

    Nothing depends on the log's being here: where the disk refuses, that is logged and no more.
    """
    current = list(current_leaves(app))
    ids = (*leaf_ids(app), *(leaf_id for leaf_id, _ in current))
    try:
        if app.log_kept != ids:
            store.pin(pins.of_log(app.link.app_key), ids)
        for leaf_id, leaf in (*leaves, *current):
            store.put(leaf_id, leaf)
        app.log_kept = ids
    except StoreError as e:
        log.warning("the log of %s is not kept: %s", encode_key(app.link.app_key)[:8], e)
    app.members.serve_log(ids)


async def fetch_log(app: FollowedApp, store: Store) -> int:
    """Asks the app's peers for the leaves that are not here; how many still are not."""
    await asyncio.to_thread(keep_log, app, store)
    missing = [BlockRef(leaf_id, 0) for leaf_id in leaf_ids(app) if not store.has(leaf_id)]
    if missing:
        try:
            await app.members.fetch(missing, foreground=False, patience_s=PATIENCE_S)
        except NetworkError:
            return sum(not store.has(leaf.id) for leaf in missing)
    return 0


def read_log(app: FollowedApp, store: Store) -> dict[str, Any]:
    """All versions of the app's targets metadata, the current one last, verified. Blocking. Times are Unix
    seconds.

    Raises TrustError where a statement of the past was not signed by those who could sign it then.
    """
    trusted = app.trusted
    assert trusted is not None
    past = history(trusted, TARGETS, store)
    head = past[-1].head
    return {
        "link": str(app.link),
        "size": head.size if head else 0,
        "root": head.root.hex() if head else None,
        "complete": past[0].version == 1 and all(each.targets for each in past),
        "equivocation": app.folder.equivocation is not None,
        "witnesses": witnesses(trusted),
        "entries": _entries(past),
        "channels": {role: _entries(history(trusted, role, store)) for role in sorted(trusted.channels)},
    }


def _entries(past: list[Past]) -> list[dict[str, Any]]:
    return [_entry(each, before) for before, each in zip([None, *past[:-1]], past, strict=True)]


def history(trusted: TrustedApp, role: str, store: Store) -> list[Past]:
    """The past of a role, as far as the store holds it. Raises as `read_history`."""
    return read_history(trusted, role, lambda leaf: _leaf(store, leaf))


def _leaf(store: Store, leaf_id: bytes) -> bytes | None:
    try:
        return store.get(leaf_id)
    except StoreError:
        return None


def _entry(past: Past, before: Past | None) -> dict[str, Any]:
    known: dict[str, Any] = {
        "sequence": past.version,
        "leaf": past.leaf.hex(),
        "known": past.targets is not None,
    }
    if past.targets is None:
        return known
    old = {each.path: each for each in before.targets.releases} if before and before.targets else {}
    new = {each.path: each for each in past.targets.releases}
    return known | {
        "signed_by": [signer.name or signer.keyid[:8] for signer in past.signed_by],
        "threshold": past.threshold,
        "root_version": past.root_version,
        "released": [_release(each) for path, each in new.items() if _changed(each, old.get(path))],
        "withdrawn": [path for path in old if path not in new],
        "revoked": [revocation.index_digest.hex() for revocation in past.targets.revocations],
    }


def _changed(release: Release, before: Release | None) -> bool:
    return before is None or canonical.encode(release.as_target()) != canonical.encode(before.as_target())


def _release(release: Release) -> dict[str, Any]:
    return {
        "path": release.path,
        "name": release.name,
        "version": release.version,
        "digest": release.index_digest.hex(),
        "released_at": int(release.released_at),
        "notes": release.notes,
    }
