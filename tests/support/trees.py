"""Small trees, their bundles, and indexes broken on purpose."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pearrt.bundle.index import BLOCK_BYTES, BlockRef, File, Frame, Index
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.bundle.stage import Staged, stage_tree
from pearrt.codec import bencode
from pearrt.crypto.hashes import sha256

MANIFEST = Manifest(name="thing", version="1.0", entry=Entry(module="thing"))


def write_tree(folder: Path, files: dict[str, bytes], executable: tuple[str, ...] = ()) -> Path:
    """Writes `files` below `folder`; those in `executable` are 0755."""
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        target.chmod(0o755 if path in executable else 0o644)
    return folder


@cache
def text(seed: int, size: int) -> bytes:
    """Compressible bytes, the same for the same seed."""
    chosen = random.Random(seed)
    return b"".join(b"%d," % chosen.randrange(1000) for _ in range(size // 2))[:size]


@cache
def noise(seed: int, size: int) -> bytes:
    """Incompressible bytes, the same for the same seed."""
    return random.Random(seed).randbytes(size)


@dataclass
class Bundle:
    """A staged tree with its blocks in memory."""

    staged: Staged
    blocks: dict[bytes, bytes]

    @property
    def index(self) -> Index:
        return self.staged.index

    def get(self, block_id: bytes) -> bytes:
        return self.blocks[block_id]


def bundle(folder: Path, *, codec: str = "zstd", level: int = 3, manifest: Manifest = MANIFEST) -> Bundle:
    """Stages `folder` into memory."""
    blocks: dict[bytes, bytes] = {}
    return Bundle(stage_tree(folder, manifest, blocks.__setitem__, codec=codec, level=level), blocks)


def frame(raw_size: int, stored: bytes) -> tuple[Frame, dict[bytes, bytes]]:
    """A frame of these stored bytes, and its blocks."""
    parts = [stored[at : at + BLOCK_BYTES] for at in range(0, len(stored), BLOCK_BYTES)]
    refs = tuple(BlockRef(sha256(part), len(part)) for part in parts)
    return Frame(raw_size, len(stored), refs), {sha256(part): part for part in parts}


def one_frame(stored: bytes, content: bytes, codec: str = "zstd") -> Bundle:
    """A bundle of one file `a` whose only frame is `stored`, honest or not."""
    made, blocks = frame(len(content), stored)
    index = Index(MANIFEST, (File("a", len(content), False, sha256(content)),), codec, (made,))
    data = index.encode()
    return Bundle(Staged(index, data, sha256(data), (), len(content), len(stored)), blocks)


def index_value(paths: list[bytes | str], **changes: object) -> dict[str, object]:
    """The bencode value of an index of empty files, with top-level keys changed."""
    files = [[path, 0, 0, sha256(b"")] for path in paths]
    value: dict[str, object] = {
        "codec": "zstd",
        "files": files,
        "format": 1,
        "frames": [],
        "manifest": MANIFEST.to_value(),
    }
    return value | changes


def encoded_index(paths: list[bytes | str], **changes: object) -> bytes:
    return bencode.encode(index_value(paths, **changes))
