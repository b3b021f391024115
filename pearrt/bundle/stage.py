"""A folder becomes an index and blocks: the shell around `framing` and `codecs`.

The same tree, codec and level give the same bytes on any machine with the same version of the compression
library; the same tree gives the same `Index.tree_digest` whatever compressed it. Nothing but paths, contents
and the executable bit goes in. Links, devices and sockets are refused, never followed. Files are hashed and
frames packed in parallel, in bounded memory; results keep their order.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pearrt.bundle.codecs import Codec, default_level
from pearrt.bundle.framing import Group, Span, plan_frames
from pearrt.bundle.index import BlockRef, File, Frame, Index, cut, split_index
from pearrt.bundle.manifest import Manifest
from pearrt.bundle.path_rules import shown
from pearrt.crypto.hashes import sha256
from pearrt.errors import LimitExceeded, ProtocolViolation, UserError

T = TypeVar("T")
R = TypeVar("R")
PutBlock = Callable[[bytes, bytes], None]
Progress = Callable[[int, int], None]
_READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Staged:
    """What staging made. `index_blocks` are the ids of the blocks that hold `index_bytes`; sizes in bytes."""

    index: Index
    index_bytes: bytes
    digest: bytes
    index_blocks: tuple[bytes, ...]
    tree_bytes: int
    stored_bytes: int


def stage_tree(
    folder: Path,
    manifest: Manifest,
    put_block: PutBlock,
    *,
    codec: str = "zstd",
    level: int | None = None,
    group: Group = lambda path: None,
    packed: MutableMapping[bytes, bytes] | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Staged:
    """Hands every block of `folder` and of its index to `put_block(id, bytes)`, called by one thread.

    Frames never cross from one `group` to the next. `packed` remembers frames, by the SHA-256 of their raw
    bytes, from one bundle to another of the same codec and level. `progress(done, total)` counts raw bytes
    packed. Raises UserError for a tree that no bundle may hold, and whatever `put_block` raises.
    """
    count = workers or os.cpu_count() or 1
    with ThreadPoolExecutor(count, "stage") as executor:
        sources = sorted(walk(folder))
        hashed = _in_order(executor, lambda path: _hash_file(folder, path), sources, 16 * count)
        index = Index(manifest, tuple(hashed), codec, ())
        with _fit_for_a_bundle():
            index.check_files()
        frames = []
        done, total = 0, sum(file.size for file in index.contents)
        packer = _Packer(folder, codec, default_level(codec, total) if level is None else level, packed)
        plan = plan_frames(index.contents, group)
        for raw_size, stored in _in_order(executor, packer.pack, plan, count + 1):
            frames.append(Frame(raw_size, len(stored), tuple(_put_blocks(stored, put_block))))
            done += raw_size
            if progress:
                progress(done, total)
    return _finish(Index(manifest, index.files, codec, tuple(frames)), put_block)


def _finish(index: Index, put_block: PutBlock) -> Staged:
    with _fit_for_a_bundle():
        data = index.encode()
        Index.parse(data)
    blocks = split_index(data)
    for block_id, part in blocks:
        put_block(block_id, part)
    ids = tuple(block_id for block_id, _ in blocks)
    return Staged(index, data, sha256(data), ids, index.tree_bytes, index.stored_bytes)


@contextlib.contextmanager
def _fit_for_a_bundle() -> Iterator[None]:
    """A rule of the format that is broken here is the publisher's to mend."""
    try:
        yield
    except (ProtocolViolation, LimitExceeded) as e:
        raise UserError(
            f"This tree cannot be a bundle: {e}.", hint="Rename or leave out the file, then stage again."
        ) from e


def _put_blocks(stored: bytes, put_block: PutBlock) -> Iterator[BlockRef]:
    for part in cut(stored):
        block_id = sha256(part)
        put_block(block_id, part)
        yield BlockRef(block_id, len(part))


def walk(folder: Path, *, skip: Callable[[str], bool] = lambda path: False) -> Iterator[str]:
    """Paths of all files below `folder`, with `/`. What `skip` names is passed over, folders with all they
    hold.

    Raises UserError for links, devices and sockets.
    """
    pending = [""]
    while pending:
        prefix = pending.pop()
        with _readable(prefix or str(folder)), os.scandir(folder / prefix) as entries:
            for entry in entries:
                path = prefix + entry.name
                if skip(path):
                    continue
                if entry.is_symlink():
                    raise UserError(
                        f"{shown(path)} is a symbolic link.", hint="A bundle holds files only: copy it."
                    )
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path + "/")
                elif entry.is_file(follow_symlinks=False):
                    yield path
                else:
                    raise UserError(
                        f"{shown(path)} is neither a file nor a folder.", hint="Remove it from the tree."
                    )


def _hash_file(folder: Path, path: str) -> File:
    digest = hashlib.sha256()
    size = 0
    with _readable(path), _open(folder, path) as fd:
        executable = bool(os.fstat(fd).st_mode & 0o100)
        while part := os.read(fd, _READ_BYTES):
            digest.update(part)
            size += len(part)
    return File(path, size, executable, digest.digest())


@contextlib.contextmanager
def _open(folder: Path, path: str) -> Iterator[int]:
    flags = (
        os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    fd = os.open(folder / path, flags)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise UserError(f"{shown(path)} changed while it was staged.")
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise UserError(f"Cannot read {shown(path)}: {e.strerror}.") from e


class _Packer:
    """Reads and compresses one frame at a time, on any thread."""

    def __init__(
        self, folder: Path, codec: str, level: int, packed: MutableMapping[bytes, bytes] | None
    ) -> None:
        self.folder = folder
        self.codec = codec
        self.level = level
        self.packed = packed
        self.local = threading.local()

    def pack(self, spans: tuple[Span, ...]) -> tuple[int, bytes]:
        """(raw size, stored bytes) of the frame."""
        parts = [self._read(span) for span in spans]
        raw = parts[0] if len(parts) == 1 else b"".join(parts)
        del parts
        if self.packed is None:
            return len(raw), self._compress(raw)
        key = sha256(raw)
        if key not in self.packed:
            self.packed[key] = self._compress(raw)
        return len(raw), self.packed[key]

    def _compress(self, raw: bytes) -> bytes:
        codec: Codec | None = getattr(self.local, "codec", None)
        if codec is None:
            codec = self.local.codec = Codec(self.codec, self.level)
        return codec.pack(raw)

    def _read(self, span: Span) -> bytes:
        path = span.file.path
        with _readable(path), _open(self.folder, path) as fd:
            os.lseek(fd, span.offset, os.SEEK_SET)
            data = os.read(fd, span.size)
        whole = span.size == span.file.size
        if len(data) != span.size or (whole and sha256(data) != span.file.sha256):
            raise UserError(
                f"{shown(path)} changed while it was staged.", hint="Stage again when nothing writes there."
            )
        return data


def _in_order(
    executor: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], window: int
) -> Iterator[R]:
    """Results of `work` in the order of `items`, at most `window` of them under way or waiting."""
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(executor.submit(work, item))
            if len(pending) >= window:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
