"""An index and its blocks become a folder: the shell that writes apps to disk.

- Everything is written into a new private folder beside the destination, which then takes its name in one
  rename: whoever sees the destination sees a whole, verified tree.
- Every file is made by directory descriptor, with O_CREAT, O_EXCL and O_NOFOLLOW: a link or file that someone
  put in the way is an error, never followed, never overwritten. Windows has no such descriptors: there the
  new folder's random name and its place below the user's own profile stand for them.
- `get_block` answers with bytes that have that id (a store verifies them); here every frame has to have its
  stated size and every file its digest, so that what is right elsewhere and wrong here is refused.
- Files are 0644 or 0755, folders 0755; no times, owners or links.

Frames are unpacked by several threads (zstd, SHA-256 and writes release the interpreter lock) with a bounded
number under way, so memory stays flat however large the bundle is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from pearrt.atomic import store_error, sync_folder
from pearrt.bundle import folders
from pearrt.bundle.codecs import Codec
from pearrt.bundle.folders import FolderCursor, PathCursor
from pearrt.bundle.framing import Span, spans_of
from pearrt.bundle.index import BlockRef, File, Frame, Index
from pearrt.bundle.path_rules import shown
from pearrt.errors import DigestMismatch, Full, ProtocolViolation, StoreError
from pearrt.syncfs import sync_filesystem

GetBlock = Callable[[bytes], bytes]
Progress = Callable[[int, int], None]
Cursor = FolderCursor | PathCursor
MAX_WORKERS = 4


def unpack(
    index: Index,
    get_block: GetBlock,
    destination: Path,
    *,
    progress: Progress | None = None,
    sync: bool = True,
) -> None:
    """Makes `destination`, which must not exist yet, hold exactly the files of `index`.

    `get_block(id)` is called from several threads. `progress(done, total)` counts raw bytes, from one thread.
    With `sync` the tree is durable before it gets its name, and the name on return; without, the caller does
    that before relying on it. Raises DigestMismatch or ProtocolViolation for blocks that do not make the
    tree, Full, StoreError, and whatever `get_block` raises; nothing is left behind then.
    """
    if os.path.lexists(destination):
        raise StoreError(f"{destination} exists already.")
    temporary = destination.with_name(f".{destination.name}.{secrets.token_hex(6)}.tmp")
    with _as_store_error(destination):
        _check_room(index, destination.parent)
        os.mkdir(temporary, 0o700)
        try:
            with _cursors(temporary) as cursor:
                _Unpacker(index, get_block, cursor).run(progress, min(MAX_WORKERS, os.cpu_count() or 1))
            if sync:
                make_durable(temporary)
            os.rename(temporary, destination)
            if sync:
                sync_folder(destination.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


@contextlib.contextmanager
def _cursors(folder: Path) -> Iterator[Callable[[], Cursor]]:
    """Makes cursors below the new folder."""
    if not folders.BY_DESCRIPTOR:
        yield partial(PathCursor, os.fspath(folder))
        return
    root = os.open(folder, folders.OPEN_FOLDER)
    try:
        yield partial(FolderCursor, root)
        os.fchmod(root, 0o755)
    finally:
        os.close(root)


@contextlib.contextmanager
def _as_store_error(destination: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise store_error(e, f"Cannot unpack into {destination}") from e


def _check_room(index: Index, parent: Path) -> None:
    free = shutil.disk_usage(parent).free
    if index.tree_bytes > free:
        raise Full(
            f"The app needs {index.tree_bytes >> 20} MiB unpacked; {free >> 20} MiB are free in {parent}."
        )


def make_durable(folder: Path) -> None:
    """Waits until the tree is on the disk. Raises OSError."""
    if sync_filesystem(folder):
        return
    for parent, _, names in os.walk(folder):
        for name in names:
            fd = os.open(os.path.join(parent, name), os.O_RDONLY if os.name == "posix" else os.O_RDWR)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        sync_folder(Path(parent))


class _Chain:
    """The running digest of one content that spans frames, fed in order whichever thread finishes first."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.lock = threading.Lock()
        self.at = 0
        self.waiting: dict[int, memoryview] = {}
        self.digest = hashlib.sha256()

    def add(self, offset: int, data: memoryview) -> None:
        """Takes the bytes at `offset`. Raises DigestMismatch when the last of them shows another content."""
        with self.lock:
            self.waiting[offset] = data
            while (part := self.waiting.pop(self.at, None)) is not None:
                self.digest.update(part)
                self.at += len(part)
            if self.at == self.file.size and self.digest.digest() != self.file.sha256:
                raise _mismatch(self.file)


def _mismatch(file: File) -> DigestMismatch:
    return DigestMismatch(f"{shown(file.path)} is not the content that was signed.")


class _Unpacker:
    """One run of `unpack`; `new_cursor` makes one for each thread."""

    def __init__(self, index: Index, get_block: GetBlock, new_cursor: Callable[[], Cursor]) -> None:
        self.index = index
        self.get_block = get_block
        self.new_cursor = new_cursor
        self.targets: dict[bytes, list[File]] = {}
        for file in index.files:
            self.targets.setdefault(file.sha256, []).append(file)
        self.chains: dict[bytes, _Chain] = {}
        self.local = threading.local()
        self.cursors: list[Cursor] = []
        self.failures: list[BaseException] = []

    def run(self, progress: Progress | None, workers: int) -> None:
        """Writes all files. At most one frame more than there are workers is under way."""
        window = threading.Semaphore(workers + 1)
        done, total = 0, self.index.raw_bytes
        try:
            self._create_empty_files()
            with ThreadPoolExecutor(workers, "unpack") as executor:
                sizes = (frame.raw_size for frame in self.index.frames)
                for frame, spans in zip(self.index.frames, spans_of(self.index.contents, sizes), strict=True):
                    window.acquire()
                    if self.failures:
                        break
                    self._prepare(spans)
                    executor.submit(self._frame, frame, spans, window)
                    done += frame.raw_size
                    if progress:
                        progress(done, total)
        except BaseException as e:
            self.failures.append(e)
        finally:
            for cursor in self.cursors:
                cursor.close()
        if self.failures:
            raise self.failures[0]

    def _cursor(self) -> Cursor:
        cursor: Cursor | None = getattr(self.local, "cursor", None)
        if cursor is None:
            cursor = self.local.cursor = self.new_cursor()
            self.cursors.append(cursor)
        return cursor

    def _codec(self) -> Codec:
        codec: Codec | None = getattr(self.local, "codec", None)
        if codec is None:
            codec = self.local.codec = Codec(self.index.codec)
        return codec

    def _create_empty_files(self) -> None:
        for file in self.index.files:
            if not file.size:
                self._cursor().create(file.path, file.executable, b"")

    def _prepare(self, spans: tuple[Span, ...]) -> None:
        """Creates the files of a content that other frames go on with, before any thread writes to them."""
        for span in spans:
            if span.size != span.file.size and span.offset == 0:
                self.chains[span.file.sha256] = _Chain(span.file)
                for file in self.targets[span.file.sha256]:
                    self._cursor().create(file.path, file.executable, b"")

    def _frame(self, frame: Frame, spans: tuple[Span, ...], window: threading.Semaphore) -> None:
        """One frame, on a worker thread. The first failure stops the run, which raises it."""
        try:
            if not self.failures:
                self._write_frame(frame, spans)
        except BaseException as e:
            self.failures.append(e)
        finally:
            window.release()

    def _write_frame(self, frame: Frame, spans: tuple[Span, ...]) -> None:
        parts = [self._block(block) for block in frame.blocks]
        stored = parts[0] if len(parts) == 1 else b"".join(parts)
        raw = memoryview(self._codec().unpack(stored, frame.raw_size))
        at = 0
        for span in spans:
            self._write_span(span, raw[at : at + span.size])
            at += span.size

    def _block(self, block: BlockRef) -> bytes:
        data = self.get_block(block.id)
        if len(data) != block.size:
            raise ProtocolViolation(f"block {block.id.hex()[:12]} is longer or shorter than the index states")
        return data

    def _write_span(self, span: Span, data: memoryview) -> None:
        targets = self.targets[span.file.sha256]
        if span.size == span.file.size:
            if hashlib.sha256(data).digest() != span.file.sha256:
                raise _mismatch(span.file)
            for file in targets:
                self._cursor().create(file.path, file.executable, data)
            return
        for file in targets:
            self._cursor().write_at(file.path, span.offset, data)
        self.chains[span.file.sha256].add(span.offset, data)
