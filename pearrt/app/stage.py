"""Staging: a prepared folder becomes blocks in the store and an index that a release can name.

staged/<index digest>.json    what was staged: manifest, sizes, the index's blocks; pinned until released or
removed
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from pearrt.app import pins
from pearrt.app.progress import Progress, Report, Stage
from pearrt.atomic import write_file
from pearrt.bundle.manifest import Manifest
from pearrt.bundle.stage import Staged, stage_tree
from pearrt.errors import UserError
from pearrt.paths import Home
from pearrt.sandbox.policy import Permissions
from pearrt.store.service import Store


async def stage(folder: Path, manifest: bytes, store: Store, home: Home, report: Report) -> dict[str, Any]:
    """Cuts `folder` into the store and records the result; gives the record. Raises UserError for a bad tree
    and for permissions that do not exist."""
    return await asyncio.to_thread(_stage, folder, Manifest.decode(manifest), store, home, report)


def _stage(folder: Path, manifest: Manifest, store: Store, home: Home, report: Report) -> dict[str, Any]:
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder.")
    check_asked(manifest)  # better refused here than on everybody's machine

    def staged_bytes(done: int, total: int) -> None:
        report(Progress(Stage.STAGING, done, total, manifest.name))

    return keep(stage_tree(folder, manifest, store.put, progress=staged_bytes), store, home)


def check_asked(manifest: Manifest) -> Permissions:
    """The permissions that a manifest asks for. Raises UserError for one that does not exist, and for an app
    that lacks what its kind never starts without."""
    asked = Permissions.parse(manifest.permissions)
    needed = {"exec": ("run.native", asked.run_native), "web": ("ui", asked.ui)}
    name, there = needed.get(manifest.kind, ("", True))
    if not there:
        raise UserError(
            f"An app of kind {manifest.kind} does not start without the permission {name}.",
            hint=f"Add `{name} = true` to [tool.pearrt.permissions].",
        )
    return asked


def keep(staged: Staged, store: Store, home: Home) -> dict[str, Any]:
    """Pins what was staged into `store` until it is released or removed, and records it; gives the record."""
    manifest = staged.index.manifest
    record = {
        "digest": staged.digest.hex(),
        "name": manifest.name,
        "version": manifest.version,
        "platform": manifest.platform,
        "size": len(staged.index_bytes),
        "index_blocks": [block_id.hex() for block_id in staged.index_blocks],
        "files": len(staged.index.files),
        "bytes": sum(file.size for file in staged.index.files),
        "blocks": len(staged.index.blocks),
        "stored_bytes": sum(block.size for block in staged.index.blocks),
        "staged_at": int(time.time()),
    }
    blocks = [*staged.index_blocks, *(block.id for block in staged.index.blocks)]
    store.pin(pins.of_staged(staged.digest.hex()), blocks)
    store.sync()
    (home.data / "staged").mkdir(mode=0o700, exist_ok=True)
    write_file(
        home.data / "staged" / f"{record['digest']}.json", json.dumps(record, indent=1).encode() + b"\n"
    )
    return record


def staged(home: Home, digest: str) -> dict[str, Any]:
    """The record of what was staged under this digest, or under the only one that begins with it. Raises
    UserError."""
    folder = home.data / "staged"
    found = (
        [path for path in folder.glob("*.json") if path.stem.startswith(digest)] if digest.isalnum() else []
    )
    if len(found) != 1:
        what = "Nothing is" if not found else f"{len(found)} trees are"
        raise UserError(
            f"{what} staged as {digest[:64]!r}.", hint="`pearrt stage` prints the digest to release."
        )
    record: dict[str, Any] = json.loads(found[0].read_bytes())
    return record
