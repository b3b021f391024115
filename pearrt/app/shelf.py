"""An app's shelf on disk: the blocks that it keeps for itself on several machines.

    apps/<55-letter key>/shelf/<2 hex>/<64 hex>    one block; the name is the SHA-256 of the file
                         shelf/tmp/                writes under way

Rules: a block counts as whole pages of PAGE_BYTES, so that a shelf of many small ones is bounded too; what is
over the limit is refused and nothing is dropped by itself; a damaged block is not there. A kill leaves whole
blocks only. Blocks are not synced: what a power cut took can be put again, or fetched.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from pearrt.crypto.hashes import sha256
from pearrt.errors import LimitExceeded
from pearrt.sandbox.policy import format_size
from pearrt.store import block_file
from pearrt.store.layout import PREFIXES, is_block_name

PAGE_BYTES = 4096
MAX_BLOCKS = 65536


@dataclass(frozen=True, slots=True)
class Usage:
    """What is on a shelf; `bytes` in whole pages."""

    blocks: int
    bytes: int


class ShelfFolder:
    """The blocks below `root`, which need not exist yet; the app's folder has to. For any thread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._counted: Usage | None = None
        self._serial = itertools.count()

    def put(self, data: bytes, limit_bytes: int) -> bytes:
        """Keeps a block; gives its SHA-256. Raises LimitExceeded where the shelf is full, StoreError."""
        block_id, size = sha256(data), _pages(len(data))
        path = self._path(block_id)
        with self._lock, block_file.store_errors(self.root):
            if self.get(block_id) is not None:
                return block_id
            self._remove(path)  # damaged
            used = self._usage()
            if used.blocks >= MAX_BLOCKS or used.bytes + size > limit_bytes:
                raise LimitExceeded(
                    f"The shelf is full: it holds {format_size(used.bytes)} of {format_size(limit_bytes)} in "
                    f"{used.blocks} blocks.",
                    hint="Drop blocks that are no longer needed.",
                )
            writing = self.root / "tmp" / str(next(self._serial))
            for folder in (self.root, path.parent, writing.parent):  # not the app's own, which may be removed
                folder.mkdir(mode=0o700, exist_ok=True)
            block_file.write_new(str(writing), data)
            os.replace(writing, path)
            self._counted = Usage(used.blocks + 1, used.bytes + size)
            return block_id

    def get(self, block_id: bytes) -> bytes | None:
        """The block, if it is here and whole. Raises StoreError."""
        with block_file.store_errors(self.root):
            try:
                data, _ = block_file.read(str(self._path(block_id)))
            except FileNotFoundError:
                return None
        return data if sha256(data) == block_id else None

    def drop(self, block_id: bytes) -> bool:
        """Forgets a block; whether it was here. Raises StoreError."""
        with self._lock, block_file.store_errors(self.root):
            return self._remove(self._path(block_id))

    def names(self, after: bytes, count: int) -> list[bytes]:
        """The first `count` names that come after this one, in their order. Raises StoreError."""
        found: list[bytes] = []
        with block_file.store_errors(self.root):
            for prefix in PREFIXES[after[0] if after else 0 :]:
                folder = self.root / prefix
                names = sorted(os.listdir(folder)) if folder.exists() else []
                found += [bytes.fromhex(name) for name in names if is_block_name(name, prefix)]
                found = [name for name in found if name > after]
                if len(found) >= count:
                    break
        return found[:count]

    def usage(self) -> Usage:
        """Counted once, at the first call. Raises StoreError."""
        with self._lock, block_file.store_errors(self.root):
            return self._usage()

    @property
    def empty(self) -> bool:
        """Whether it was counted, and nothing is there."""
        return self._counted is not None and not self._counted.blocks

    def _path(self, block_id: bytes) -> Path:
        name = block_id.hex()
        return self.root / name[:2] / name

    def _remove(self, path: Path) -> bool:
        used = self._usage()
        try:
            size = _pages(path.stat().st_size)
            path.unlink()
        except FileNotFoundError:
            return False
        self._counted = Usage(used.blocks - 1, used.bytes - size)
        return True

    def _usage(self) -> Usage:
        if self._counted is None:
            blocks = total = 0
            for folder in self.root.iterdir() if self.root.exists() else ():
                for entry in os.scandir(folder):
                    if is_block_name(entry.name, folder.name):
                        blocks += 1
                        total += _pages(entry.stat(follow_symlinks=False).st_size)
                    else:
                        with contextlib.suppress(FileNotFoundError):
                            os.unlink(entry.path)
            self._counted = Usage(blocks, total)
        return self._counted


def _pages(size: int) -> int:
    return -(-size // PAGE_BYTES) * PAGE_BYTES
