"""The index: the signed list of everything in a bundle. Canonical bencode, parsed under named bounds.

    d  5:codec     "zstd" | "xz" | "zlib" | "raw"
       5:files     [[path, size, executable 0|1, sha256], …]   sorted by the bytes of path, no path twice
       6:format    1
       6:frames    [[raw size, stored size, block ids joined], …]
       8:manifest  {…}                                          see `manifest.py`
    e

The **raw stream** is every distinct file content once, in the order in which the sorted paths first name it;
empty files add nothing. Frames partition the raw stream. A frame's stored bytes are its compressed bytes, or
the raw bytes themselves when compression does not make them smaller: stored size equals raw size exactly
then. Stored bytes are cut every 256 KiB into blocks, the last one shorter; a block's id is the SHA-256 of its
bytes.

So nothing in an index is free to vary: there is one index for a tree, a codec and that codec's output. The
index's digest is the SHA-256 of its encoding, and equal trees have equal `tree_digest` whatever the codec.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pearrt.bundle.manifest import Manifest
from pearrt.bundle.path_rules import MAX_PATH_BYTES, check_paths, shown
from pearrt.codec import bencode
from pearrt.crypto.hashes import DIGEST_BYTES, sha256, tagged
from pearrt.errors import LimitExceeded, ProtocolViolation

FORMAT = 1
CODECS = ("zstd", "xz", "zlib", "raw")
BLOCK_BYTES = 256 * 1024
MAX_FRAME_BYTES = 4 * 1024 * 1024
MAX_INDEX_BYTES = 16 * 1024 * 1024
MAX_FILES = 100_000
MAX_FRAMES = 65_536
MAX_TREE_BYTES = 2**36
_MAX_ITEMS = 5 * MAX_FILES + 4 * MAX_FRAMES + 1024


@dataclass(frozen=True, slots=True)
class File:
    """One file of the tree: path with `/`, size in bytes, SHA-256 of the content."""

    path: str
    size: int
    executable: bool
    sha256: bytes


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block by id, with its size in bytes."""

    id: bytes
    size: int


def refs_of_index(block_ids: Sequence[bytes], size: int) -> list[BlockRef]:
    """The blocks of an index of `size` bytes: it is cut into blocks of full size, but for the last one."""
    last = len(block_ids) - 1
    return [
        BlockRef(block_id, BLOCK_BYTES if at < last else size - last * BLOCK_BYTES)
        for at, block_id in enumerate(block_ids)
    ]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: sizes in bytes, and the blocks that hold its stored bytes."""

    raw_size: int
    stored_size: int
    blocks: tuple[BlockRef, ...]

    @property
    def is_raw(self) -> bool:
        """Whether the stored bytes are the raw bytes."""
        return self.stored_size == self.raw_size


@dataclass(frozen=True)
class Index:
    """A bundle's manifest, files and frames. Build one with `parse`, or by staging a tree."""

    manifest: Manifest
    files: tuple[File, ...]
    codec: str
    frames: tuple[Frame, ...]

    @classmethod
    def parse(cls, data: bytes) -> Index:
        """The index that `data` encodes, every rule checked. Raises ProtocolViolation or LimitExceeded."""
        if len(data) > MAX_INDEX_BYTES:
            raise LimitExceeded(f"index of {len(data)} bytes; at most {MAX_INDEX_BYTES} are allowed")
        value = bencode.decode(bytes(data), max_depth=4, max_items=_MAX_ITEMS)
        if not isinstance(value, dict) or set(value) != {
            b"codec",
            b"files",
            b"format",
            b"frames",
            b"manifest",
        }:
            raise ProtocolViolation("index: not the dictionary of this format")
        if value[b"format"] != FORMAT:
            raise ProtocolViolation(
                "index: another format than this version reads",
                hint="A newer pearrt may read it.",
            )
        codec = value[b"codec"]
        if not isinstance(codec, bytes) or codec.decode("ascii", "replace") not in CODECS:
            raise ProtocolViolation("index: unknown codec")
        index = cls(
            manifest=Manifest.from_value(value[b"manifest"]),
            files=tuple(_parse_files(value[b"files"])),
            codec=codec.decode(),
            frames=tuple(_parse_frames(value[b"frames"])),
        )
        index.check_files()
        index.check_frames()
        return index

    def check_files(self) -> None:
        """Checks what single file entries cannot show: order, collisions, sums. Raises like `parse`."""
        if len(self.files) > MAX_FILES:
            raise LimitExceeded(f"index: {len(self.files)} files; at most {MAX_FILES} are allowed")
        _check_order(self.files)
        check_paths(file.path for file in self.files)
        if self.tree_bytes > MAX_TREE_BYTES:
            raise LimitExceeded(f"index: the tree is larger than {MAX_TREE_BYTES} bytes")
        sizes: dict[bytes, int] = {}
        for file in self.files:
            if sizes.setdefault(file.sha256, file.size) != file.size:
                raise ProtocolViolation(f"index: one digest with two sizes at {shown(file.path)}")
        _check_manifest(self.manifest, self.files)

    def check_frames(self) -> None:
        """Checks that the frames hold exactly the files' distinct contents. Raises like `parse`."""
        if len(self.frames) > MAX_FRAMES:
            raise LimitExceeded(f"index: {len(self.frames)} frames; at most {MAX_FRAMES} are allowed")
        if sum(file.size for file in self.contents) != self.raw_bytes:
            raise ProtocolViolation("index: the frames do not hold as many bytes as the files")
        if self.codec == "raw" and not all(frame.is_raw for frame in self.frames):
            raise ProtocolViolation("index: codec raw with a compressed frame")
        block_sizes: dict[bytes, int] = {}
        for block in self._all_blocks():
            if block_sizes.setdefault(block.id, block.size) != block.size:
                raise ProtocolViolation("index: one block id with two sizes")

    def encode(self) -> bytes:
        """The canonical encoding, whose SHA-256 is the index digest."""
        return bencode.encode(
            {
                "codec": self.codec,
                "files": [[file.path, file.size, int(file.executable), file.sha256] for file in self.files],
                "format": FORMAT,
                "frames": [
                    [frame.raw_size, frame.stored_size, b"".join(block.id for block in frame.blocks)]
                    for frame in self.frames
                ],
                "manifest": self.manifest.to_value(),
            }
        )

    def _all_blocks(self) -> Iterator[BlockRef]:
        return (block for frame in self.frames for block in frame.blocks)

    @cached_property
    def blocks(self) -> tuple[BlockRef, ...]:
        """Every distinct block once, in order of first use: the ordinals of have messages and bit fields."""
        return tuple({block.id: block for block in self._all_blocks()}.values())

    @cached_property
    def contents(self) -> tuple[File, ...]:
        """The raw stream's parts: the first file of each distinct, non-empty content."""
        first: dict[bytes, File] = {}
        for file in self.files:
            if file.size:
                first.setdefault(file.sha256, file)
        return tuple(first.values())

    @property
    def tree_bytes(self) -> int:
        """Size of the unpacked tree."""
        return sum(file.size for file in self.files)

    @property
    def raw_bytes(self) -> int:
        """Size of the raw stream: the tree's distinct contents."""
        return sum(frame.raw_size for frame in self.frames)

    @property
    def stored_bytes(self) -> int:
        """Size of all distinct blocks: what a fetch without anything in hand transfers."""
        return sum(block.size for block in self.blocks)

    @cached_property
    def tree_digest(self) -> bytes:
        """SHA-256 that names manifest and tree alone: the same for every codec, level and library version."""
        files = [[file.path, file.size, int(file.executable), file.sha256] for file in self.files]
        return tagged("pearrt-tree-v1", bencode.encode([self.manifest.to_value(), files]))


def split_index(data: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """The blocks (id, bytes) in which an encoded index travels: every 256 KiB, the last one shorter."""
    return tuple((sha256(part), part) for part in cut(data))


def cut(data: bytes) -> Iterator[bytes]:
    """`data` in pieces of one block."""
    return (data[at : at + BLOCK_BYTES] for at in range(0, len(data), BLOCK_BYTES))


def _parse_files(value: Any) -> Iterator[File]:
    if not isinstance(value, list):
        raise ProtocolViolation("index: files is no list")
    if len(value) > MAX_FILES:
        raise LimitExceeded(f"index: {len(value)} files; at most {MAX_FILES} are allowed")
    for item in value:
        match item:
            case [bytes() as path, int() as size, (0 | 1) as executable, bytes() as digest]:
                pass
            case _:
                raise ProtocolViolation("index: a file entry of another shape")
        if len(digest) != DIGEST_BYTES or not 0 <= size <= MAX_TREE_BYTES:
            raise ProtocolViolation("index: a file's size or digest is out of range")
        if (size == 0) != (digest == EMPTY_DIGEST):
            raise ProtocolViolation(
                "index: an empty file has the digest of nothing, and no other file has it"
            )
        yield File(_decode_path(path), size, bool(executable), digest)


EMPTY_DIGEST = sha256(b"")


def _decode_path(data: bytes) -> str:
    if len(data) > MAX_PATH_BYTES:
        raise LimitExceeded(f"index: a path of {len(data)} bytes; at most {MAX_PATH_BYTES} are allowed")
    try:
        return data.decode()
    except UnicodeDecodeError as e:
        raise ProtocolViolation(f"index: path {ascii(data)[:80]} is not UTF-8") from e


def _parse_frames(value: Any) -> Iterator[Frame]:
    if not isinstance(value, list):
        raise ProtocolViolation("index: frames is no list")
    if len(value) > MAX_FRAMES:
        raise LimitExceeded(f"index: {len(value)} frames; at most {MAX_FRAMES} are allowed")
    for item in value:
        match item:
            case [int() as raw_size, int() as stored_size, bytes() as ids]:
                pass
            case _:
                raise ProtocolViolation("index: a frame entry of another shape")
        if not 0 < stored_size <= raw_size <= MAX_FRAME_BYTES:
            raise ProtocolViolation("index: a frame's sizes are out of range")
        if len(ids) != DIGEST_BYTES * -(-stored_size // BLOCK_BYTES):
            raise ProtocolViolation("index: a frame has more or fewer blocks than its size needs")
        yield Frame(raw_size, stored_size, _block_refs(ids, stored_size))


def _block_refs(ids: bytes, stored_size: int) -> tuple[BlockRef, ...]:
    return tuple(
        BlockRef(
            ids[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES],
            min(BLOCK_BYTES, stored_size - number * BLOCK_BYTES),
        )
        for number in range(len(ids) // DIGEST_BYTES)
    )


def _check_order(files: tuple[File, ...]) -> None:
    last = b""
    for number, file in enumerate(files):
        try:
            path = file.path.encode()
        except UnicodeEncodeError as e:
            raise ProtocolViolation(f"path {shown(file.path)}: a lone surrogate") from e
        if number and path <= last:
            raise ProtocolViolation(f"index: {shown(file.path)} is out of order or there twice")
        last = path


def _check_manifest(manifest: Manifest, files: tuple[File, ...]) -> None:
    """An entry that is a file has to be among the files; what a module name finds shows only at run time."""
    if manifest.entry.file and all(file.path != manifest.entry.file for file in files):
        raise ProtocolViolation(f"index: the entry {shown(manifest.entry.file)} is not among the files")
