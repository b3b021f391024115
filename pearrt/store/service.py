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
import errno
import itertools
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pearrt.atomic import sync_folder, write_file
from pearrt.crypto.hashes import sha256
from pearrt.errors import Corrupt, DigestMismatch, Full, StoreError
from pearrt.store.layout import PREFIXES, Layout, decode_pin, encode_pin, is_block_name
from pearrt.store.lock import ProcessLock
from pearrt.syncfs import sync_filesystem

MAX_BLOCK_BYTES = 256 * 1024
_FSCK_WORKERS = 4


class NoSuchBlock(StoreError):
    """The block is not in the store."""


@dataclass(frozen=True, slots=True)
class GcReport:
    """What gc removed (or would remove), in blocks and bytes."""

    removed: int
    freed_bytes: int


@dataclass(frozen=True, slots=True)
class FsckReport:
    """`checked` blocks were read; `damaged` ones dropped, `foreign` files (paths below the root) removed."""

    checked: int
    damaged: tuple[bytes, ...]
    foreign: tuple[str, ...]

    @property
    def clean(self) -> bool:
        return not self.damaged and not self.foreign


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """Blocks and bytes in all, and those that some pin names."""

    blocks: int
    stored_bytes: int
    pinned_blocks: int
    pinned_bytes: int


class Store:
    """The store at `root`. Use as a context manager, or `open` and `close`."""

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        self.root = root
        self.read_only = read_only
        self._layout = Layout(root)
        self._lock_file = ProcessLock(self._layout.lock)
        self._mutex = threading.Lock()  # the sets and counts in memory; held for moments
        self._pin_mutex = threading.Lock()  # pin files; taken before the other
        self._have: set[bytes] = set()
        self._verified: set[bytes] = set()
        self._unsynced: set[bytes] = set()
        self._pins: dict[str, frozenset[bytes]] = {}
        self._pinned: Counter[bytes] = Counter()
        self._serial = itertools.count()
        self._opened = False

    def open(self) -> Store:
        """Creates the folders, takes the lock, lists blocks and pins. Raises Locked, Full or StoreError."""
        with _store_errors(self.root):
            if not self.read_only:
                self._prepare()
            try:
                self._have = set(self._list_blocks())
                self._pins = self._load_pins()
            except BaseException:
                self._lock_file.release()
                raise
        self._pinned = Counter(block_id for ids in self._pins.values() for block_id in ids)
        self._opened = True
        return self

    def close(self) -> None:
        """Releases the lock. What was not synced stays in the page cache's hands."""
        self._opened = False
        self._lock_file.release()

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
        path = self._layout.block(block_id)
        temporary = self._layout.temporary / str(next(self._serial))
        with _store_errors(self.root):
            _write_new(temporary, data)
            os.rename(temporary, path)
        with self._mutex:
            self._have.add(block_id)
            self._verified.add(block_id)
            self._unsynced.add(block_id)

    def get(self, block_id: bytes) -> bytes:
        """The block's bytes. Raises NoSuchBlock, or Corrupt after dropping a damaged one."""
        try:
            data = _read(self._layout.block(block_id))
        except FileNotFoundError as e:
            self._forget(block_id)
            raise NoSuchBlock(f"Block {block_id.hex()[:12]} is not in the store.") from e
        except OSError as e:
            raise StoreError(f"Cannot read block {block_id.hex()[:12]}: {e.strerror}.") from e
        if block_id not in self._verified:
            if sha256(data) != block_id:
                self._drop(block_id)
                raise Corrupt(f"Block {block_id.hex()[:12]} was damaged on disk and has been dropped.")
            self._verified.add(block_id)
        return data

    def pin(self, name: str, ids: Iterable[bytes]) -> None:
        """Makes `name` keep exactly `ids`, here or yet to come; replaces what it kept. Durable on return."""
        self._check_writable()
        wanted = frozenset(ids)
        path = self._layout.pin(name)
        with self._pin_mutex:
            with self._mutex:
                self._pinned.update(wanted)
            # Until the file has changed, old and new ids both count: gc may come at any moment.
            kept = wanted
            try:
                write_file(path, encode_pin(wanted))
                kept, self._pins[name] = self._pins.get(name, frozenset()), wanted
            finally:
                with self._mutex:
                    self._release(kept)

    def unpin(self, name: str) -> None:
        """Forgets the pin; its blocks stay until `gc`. Nothing happens when there is none."""
        self._check_writable()
        path = self._layout.pin(name)
        with self._pin_mutex:
            with _store_errors(self.root), contextlib.suppress(FileNotFoundError):
                path.unlink()
            with self._mutex:
                self._release(self._pins.pop(name, frozenset()))

    def pins(self) -> list[str]:
        """Names of all pins, sorted."""
        return sorted(self._pins)

    def gc(self, *, dry_run: bool = False) -> GcReport:
        """Removes blocks that no pin names."""
        self._check_writable()
        removed = freed = 0
        with self._mutex:
            loose = self._have - self._pinned.keys()
        for block_id in loose:
            with self._mutex:
                if block_id in self._pinned or block_id not in self._have:
                    continue
                path = self._layout.block(block_id)
                with _store_errors(self.root), contextlib.suppress(FileNotFoundError):
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
        foreign = tuple(self._remove_foreign())
        ids = sorted(self._list_blocks())
        with ThreadPoolExecutor(min(_FSCK_WORKERS, os.cpu_count() or 1), "fsck") as executor:
            damaged = tuple(
                block_id
                for block_id, whole in zip(ids, executor.map(self._is_whole, ids), strict=True)
                if not whole
            )
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
            with _store_errors(self.root):
                if not sync_filesystem(self.root):
                    self._sync_files(unsynced)
        except BaseException:
            with self._mutex:
                self._unsynced |= unsynced
            raise

    def usage(self) -> StoreUsage:
        """Counts and sizes, read from disk."""
        sizes = dict(self._block_sizes())
        pinned = [size for block_id, size in sizes.items() if block_id in self._pinned]
        return StoreUsage(len(sizes), sum(sizes.values()), len(pinned), sum(pinned))

    def _prepare(self) -> None:
        for folder in (self.root, self._layout.blocks, self._layout.temporary, self._layout.pins):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_file.acquire()
        for prefix in set(PREFIXES).difference(os.listdir(self._layout.blocks)):
            (self._layout.blocks / prefix).mkdir(mode=0o700)
        for folder in (self._layout.temporary, self._layout.pins):
            for entry in folder.iterdir():
                if folder == self._layout.temporary or entry.name.startswith("."):
                    entry.unlink()

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

    def _load_pins(self) -> dict[str, frozenset[bytes]]:
        pins = {}
        for path in self._layout.pins.iterdir() if self._layout.pins.exists() else ():
            if not path.name.startswith("."):
                try:
                    pins[path.name] = decode_pin(path.read_bytes())
                except ValueError as e:
                    raise Corrupt(
                        f"Pin {path} is damaged: {e}.", hint=f"Remove {path}; its app fetches again."
                    ) from e
        return pins

    def _remove_foreign(self) -> Iterator[str]:
        for folder in self._layout.blocks.iterdir():
            for path in folder.iterdir() if folder.is_dir() else (folder,):
                if not (is_block_name(path.name, folder.name) and path.is_file() and not path.is_symlink()):
                    path.unlink()
                    yield str(path.relative_to(self.root))

    def _is_whole(self, block_id: bytes) -> bool:
        try:
            whole = sha256(_read(self._layout.block(block_id))) == block_id
        except FileNotFoundError:
            return True  # removed by gc in the meantime
        except OSError:
            return False
        if whole:
            self._verified.add(block_id)
        return whole

    def _drop(self, block_id: bytes) -> None:
        """Removes a damaged block. A read-only store only forgets it."""
        if not self.read_only:
            with _store_errors(self.root), contextlib.suppress(FileNotFoundError):
                self._layout.block(block_id).unlink()
        self._forget(block_id)

    def _forget(self, block_id: bytes) -> None:
        with self._mutex:
            self._discard(block_id)

    def _discard(self, block_id: bytes) -> None:
        self._have.discard(block_id)
        self._verified.discard(block_id)
        self._unsynced.discard(block_id)

    def _release(self, ids: Iterable[bytes]) -> None:
        for block_id in ids:
            self._pinned[block_id] -= 1
            if self._pinned[block_id] <= 0:
                del self._pinned[block_id]

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


def _write_new(path: Path, data: bytes | memoryview) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        if os.write(fd, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except BaseException:
        os.close(fd)
        fd = -1
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    finally:
        if fd >= 0:
            os.close(fd)


def _read(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        data = os.read(fd, MAX_BLOCK_BYTES + 1)
    finally:
        os.close(fd)
    return data


@contextlib.contextmanager
def _store_errors(root: Path) -> Iterator[None]:
    """OSError as the error of this store: Full where the disk or quota is, StoreError else."""
    try:
        yield
    except OSError as e:
        kind = Full if e.errno in (errno.ENOSPC, errno.EDQUOT) else StoreError
        raise kind(f"Store {root}: {e.strerror}.") from e
