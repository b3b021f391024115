"""The content-addressed block store: verified before visible, whole or absent after any crash.

- A block is written to `tmp/`, then renamed to the name that is its SHA-256. A kill at any moment leaves the
  block absent or whole; leftovers are swept when a writer opens the store.
- `put` hashes before it writes. `get` hashes on the first read of a block in this process, and drops a
  damaged one.
- After a power cut, blocks written since the last `sync` may be damaged: the first read finds that out. A
  release counts as installed only after `sync`.
- One process writes (`Locked` for a second); any number may read with `read_only=True`.
- Pin before you fetch: `gc` removes what no pin names, at any moment.

All methods may be called from several threads; all block on disk.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from pearrt.atomic import sync_folder
from pearrt.crypto.hashes import sha256
from pearrt.errors import Corrupt, DigestMismatch, NoSuchBlock, StoreError
from pearrt.store.block_file import MAX_BLOCK_BYTES, read, read_cached, store_errors, write_new
from pearrt.store.layout import PREFIXES, Layout, is_block_name
from pearrt.store.lock import ProcessLock
from pearrt.store.pins import Pins
from pearrt.store.reports import FsckReport, GcReport, StoreUsage
from pearrt.syncfs import sync_filesystem

__all__ = ["MAX_BLOCK_BYTES", "Store"]
_FSCK_WORKERS = 4


class Store:
    """The store at `root`. Use as a context manager, or `open` and `close`."""

    def __init__(self, root: Path, *, read_only: bool = False, inherited_lock: int = -1) -> None:
        """`inherited_lock`: descriptor of this store's lock, passed on by the process that had it."""
        self.root = root
        self.read_only = read_only
        self._layout = Layout(root)
        self._lock_file = ProcessLock(self._layout.lock)
        self._pins = Pins(self._layout)
        self._mutex = threading.Lock()  # the three sets; held for moments, and by gc for each removal
        self._have: set[bytes] = set()
        self._verified: dict[bytes, int] = {}  # id to the stamp of the file when it was hashed
        self._unsynced: set[bytes] = set()
        self._serial = itertools.count()
        self._opened = False
        self._inherited_lock = inherited_lock

    def open(self) -> Store:
        """Creates the folders, takes the lock, lists blocks and pins. Raises Locked, Corrupt, StoreError."""
        try:
            with store_errors(self.root):
                if not self.read_only:
                    self._prepare()
                self._have = set(self._list_blocks())
                self._pins.load()
        except BaseException:
            self._lock_file.release()
            raise
        self._opened = True
        return self

    def close(self) -> None:
        """Releases the lock. What was not synced stays in the page cache's hands."""
        self._opened = False
        self._lock_file.release()

    @property
    def lock_fd(self) -> int:
        """The lock's descriptor, for a process that is to take the store over."""
        return self._lock_file.fd

    def hand_over(self) -> None:
        """The store belongs to another process now, which has the lock's descriptor: from here on this one
        only reads."""
        self.read_only = True
        self._lock_file.disown()

    def __enter__(self) -> Store:
        return self if self._opened else self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def has(self, block_id: bytes) -> bool:
        """Whether the block is here: from memory; a read-only store looks on disk for newer ones."""
        return block_id in self._have or (self.read_only and self._layout.block(block_id).exists())

    def put(self, block_id: bytes, data: bytes | memoryview) -> None:
        """Keeps a block of at most 256 KiB; nothing happens when it is here already.

        Raises DigestMismatch for bytes that are not that block's, Full, StoreError.
        """
        self._check_writable()
        if len(data) > MAX_BLOCK_BYTES:
            raise StoreError(f"A block of {len(data)} bytes; at most {MAX_BLOCK_BYTES} are allowed.")
        if sha256(data) != block_id:
            raise DigestMismatch(f"Block {block_id.hex()[:12]} has other bytes than its id says.")
        if block_id in self._have:
            return
        path = self._layout.block_file(block_id)
        temporary = self._layout.temporary_file(next(self._serial))
        with store_errors(self.root):
            stamp = write_new(temporary, data)
            try:
                os.rename(temporary, path)
            except FileNotFoundError:  # the first block of its folder
                os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
                os.rename(temporary, path)
        with self._mutex:
            self._have.add(block_id)
            self._verified[block_id] = stamp
            self._unsynced.add(block_id)

    def get(self, block_id: bytes) -> bytes:
        """The block's bytes. Raises NoSuchBlock, Corrupt after dropping a damaged one, StoreError."""
        try:
            with store_errors(self.root):
                data, stamp = read(self._layout.block_file(block_id))
        except StoreError as e:
            if not isinstance(e.__cause__, FileNotFoundError):
                raise
            self._forget(block_id)
            raise NoSuchBlock(f"Block {block_id.hex()[:12]} is not in the store.") from e
        if self._verified.get(block_id) != stamp:
            if sha256(data) != block_id:
                self._drop(block_id)
                raise Corrupt(f"Block {block_id.hex()[:12]} was damaged on disk and has been dropped.")
            with self._mutex:
                self._verified[block_id] = stamp
        return data

    def get_now(self, block_id: bytes, memory: Callable[[int], memoryview]) -> memoryview | None:
        """The block if that takes no waiting: verified before and in the page cache (Linux). Else None.

        `memory(size)` gives what it is read into.
        """
        stamp = self._verified.get(block_id)
        if stamp is None:
            return None
        try:
            return read_cached(self._layout.block_file(block_id), stamp, memory)
        except OSError:
            return None  # not cached, gone, or a file system that can't tell: `get` finds out

    def pin(self, name: str, ids: Iterable[bytes]) -> None:
        """Makes `name` keep exactly `ids`, here or yet to come; replaces what it kept. Durable on return."""
        self._check_writable()
        self._pins.set(name, ids)

    def unpin(self, name: str) -> None:
        """Forgets the pin; its blocks stay until `gc`. Nothing happens when there is none."""
        self._check_writable()
        self._pins.remove(name)

    def pins(self) -> list[str]:
        """Names of all pins, sorted."""
        return self._pins.names()

    def gc(self, *, dry_run: bool = False) -> GcReport:
        """Removes blocks that no pin names; with `dry_run` only counts them."""
        self._check_writable()
        with self._mutex:
            have = set(self._have)
        removed = freed = 0
        for block_id in self._pins.loose(have):
            with self._mutex:
                # Pinned in the meantime: whoever did may rely on `has` from then on.
                if block_id in self._pins or block_id not in self._have:
                    continue
                with store_errors(self.root), contextlib.suppress(FileNotFoundError):
                    path = self._layout.block(block_id)
                    freed += path.stat().st_size
                    removed += 1
                    if not dry_run:
                        path.unlink()
                if not dry_run:
                    self._discard(block_id)
        return GcReport(removed, freed)

    def fsck(self) -> FsckReport:
        """Reads and hashes every block; drops damaged ones and files that no store puts here."""
        self._check_writable()
        with store_errors(self.root):
            foreign = tuple(self._remove_foreign())
            ids = sorted(self._list_blocks())
        with ThreadPoolExecutor(min(_FSCK_WORKERS, os.cpu_count() or 1), "fsck") as executor:
            whole = list(executor.map(self._is_whole, ids))
        damaged = tuple(block_id for block_id, good in zip(ids, whole, strict=True) if not good)
        for block_id in damaged:
            self._drop(block_id)
        return FsckReport(len(ids), damaged, foreign)

    def sync(self) -> None:
        """Waits until every block put so far is durable. Raises Full or StoreError when the disk refused."""
        self._check_writable()
        with self._mutex:
            unsynced, self._unsynced = self._unsynced, set()
        if not unsynced:
            return
        try:
            with store_errors(self.root):
                if not sync_filesystem(self.root):
                    self._sync_files(unsynced)
        except BaseException:
            with self._mutex:
                self._unsynced |= unsynced
            raise

    def usage(self) -> StoreUsage:
        """Counts and sizes, read from disk."""
        sizes = dict(self._block_sizes())
        pinned = [size for block_id, size in sizes.items() if block_id in self._pins]
        return StoreUsage(len(sizes), sum(sizes.values()), len(pinned), sum(pinned))

    def _prepare(self) -> None:
        for folder in (self.root, self._layout.blocks, self._layout.temporary, self._layout.pins):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._inherited_lock >= 0:
            self._lock_file.adopt(self._inherited_lock)
        else:
            self._lock_file.acquire()
        for leftover in self._layout.temporary.iterdir():
            leftover.unlink()
        self._pins.sweep()

    def _list_blocks(self) -> Iterator[bytes]:
        for prefix in PREFIXES:
            with contextlib.suppress(FileNotFoundError):
                for name in os.listdir(self._layout.blocks / prefix):
                    if is_block_name(name, prefix):
                        yield bytes.fromhex(name)

    def _block_sizes(self) -> Iterator[tuple[bytes, int]]:
        for prefix in PREFIXES:
            with contextlib.suppress(FileNotFoundError), os.scandir(self._layout.blocks / prefix) as entries:
                for entry in entries:
                    if is_block_name(entry.name, prefix):
                        with contextlib.suppress(FileNotFoundError):
                            yield bytes.fromhex(entry.name), entry.stat(follow_symlinks=False).st_size

    def _remove_foreign(self) -> Iterator[str]:
        for folder in self._layout.blocks.iterdir():
            if folder.name not in PREFIXES or folder.is_symlink() or not folder.is_dir():
                yield self._remove(folder)
                continue
            for path in folder.iterdir():
                if not is_block_name(path.name, folder.name) or path.is_symlink() or not path.is_file():
                    yield self._remove(path)

    def _remove(self, path: Path) -> str:
        """Removes a file or folder, never through a link; gives its path below the root."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        return str(path.relative_to(self.root))

    def _is_whole(self, block_id: bytes) -> bool:
        try:
            return sha256(read(self._layout.block_file(block_id))[0]) == block_id
        except FileNotFoundError:
            return True  # removed by gc in the meantime
        except OSError:
            return False

    def _drop(self, block_id: bytes) -> None:
        """Removes a damaged block. A read-only store only forgets it."""
        if not self.read_only:
            with store_errors(self.root), contextlib.suppress(FileNotFoundError):
                self._layout.block(block_id).unlink()
        self._forget(block_id)

    def _forget(self, block_id: bytes) -> None:
        with self._mutex:
            self._discard(block_id)

    def _discard(self, block_id: bytes) -> None:
        self._have.discard(block_id)
        self._unsynced.discard(block_id)
        self._verified.pop(block_id, None)

    def _sync_files(self, ids: set[bytes]) -> None:
        paths = [self._layout.block(block_id) for block_id in ids]
        for path in paths:
            with contextlib.suppress(FileNotFoundError), path.open("rb+") as file:
                os.fsync(file.fileno())
        for folder in {path.parent for path in paths}:
            sync_folder(folder)

    def _check_writable(self) -> None:
        if self.read_only or not self._opened:
            raise StoreError("The store is not open for writing.")
