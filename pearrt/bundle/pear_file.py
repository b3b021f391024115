"""A `.pear` file: apps to carry by hand. One ZIP of stored entries that mirrors the HTTP view of a peer.

    pearrt/v1/links                    text, a link a line; the first is the app to run
    pearrt/v1/<55-letter key>/metadata the encoded metadata set of one app, all roots from 1
    pearrt/v1/block/<64 hex digits>    a block, named by the SHA-256 of its bytes

In this order, metadata sorted by key and blocks by id, so that equal contents are equal files. Unpacked
under any static web server it is a mirror. Nothing in it is trusted: metadata is signed and verified by
whoever asked for it, every block is hashed when it is read. Other names are passed over: a later version may
add some.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from pearrt.atomic import replacing
from pearrt.bundle.index import BLOCK_BYTES
from pearrt.bundle.stored_zip import Entry, StoredZip, StoredZipWriter
from pearrt.crypto.hashes import DIGEST_BYTES, sha256
from pearrt.errors import (
    BadLink,
    DigestMismatch,
    LimitExceeded,
    NoSuchApp,
    NoSuchBlock,
    ProtocolViolation,
    StoreError,
    UserError,
)
from pearrt.link import KEY_LETTERS, MAX_LINK_CHARS, Link, decode_key, encode_key

SUFFIX = ".pear"
MAX_LINKS = 64
MAX_APPS = 64
MAX_LINKS_BYTES = MAX_LINKS * (MAX_LINK_CHARS + 1)
MAX_METADATA_BYTES = 32 << 20  # above what 256 roots of the largest size need

_PREFIX = "pearrt/v1/"
_LINKS = _PREFIX + "links"
_METADATA = re.compile(rf"{_PREFIX}([a-z0-9]{{{KEY_LETTERS}}})/metadata")
_BLOCK = re.compile(rf"{_PREFIX}block/([0-9a-f]{{{2 * DIGEST_BYTES}}})")


def write_pear(
    path: Path, links: Sequence[str], metadata: Mapping[bytes, bytes], blocks: Iterable[tuple[bytes, bytes]]
) -> None:
    """Writes or replaces the file at `path`, whole or not at all.

    `metadata`: encoded sets by app key; the apps of `links` have to be among them. `blocks`: (id, bytes), in
    ascending order of id, each once; taken one at a time. Raises ValueError where that does not hold,
    DigestMismatch for a block of other bytes, Full, StoreError, LimitExceeded.
    """
    keys = [Link.parse(link).app_key for link in links]
    if not keys or len(links) > MAX_LINKS or not set(keys) <= metadata.keys() or len(metadata) > MAX_APPS:
        raise ValueError("a .pear file needs links, at most 64, and the metadata of each linked app")
    with replacing(path, mode=0o644) as stream:
        archive = StoredZipWriter(stream)
        archive.add(_LINKS, "".join(f"{link}\n" for link in links).encode("ascii"))
        for app_key in sorted(metadata):
            archive.add(f"{_PREFIX}{encode_key(app_key)}/metadata", metadata[app_key])
        for block_id, data in _ascending(blocks):
            if len(data) > BLOCK_BYTES or sha256(data) != block_id:
                raise DigestMismatch(f"Block {block_id.hex()[:12]} has other bytes than its id says.")
            archive.add(f"{_PREFIX}block/{block_id.hex()}", data)
        archive.finish()


def _ascending(blocks: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    last = b""
    for block_id, data in blocks:
        if block_id <= last:
            raise ValueError("the blocks of a .pear file come in ascending order of id, each once")
        last = block_id
        yield block_id, data


class PearFile:
    """The file at `path`; a context manager. `block` may be called from several threads.

    Opening raises UserError where it cannot be read, ProtocolViolation where it is no `.pear` file,
    LimitExceeded where it breaks a bound.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.links: tuple[str, ...] = ()
        self._metadata: dict[bytes, Entry] = {}
        self._blocks: dict[bytes, Entry] = {}
        self._mutex = threading.Lock()
        try:
            self._stream: BinaryIO = path.open("rb")
        except OSError as e:
            raise UserError(f"Cannot read {path}: {e.strerror}.") from e
        try:
            self._archive = StoredZip(self._stream)
            self._list()
        except OSError as e:
            self._stream.close()
            raise UserError(f"Cannot read {path}: {e.strerror}.") from e
        except (ProtocolViolation, LimitExceeded) as e:
            self._stream.close()
            raise type(e)(f"{path}: {e.message}", hint=e.hint or "Is it a .pear file?") from e

    def __enter__(self) -> PearFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()

    @property
    def apps(self) -> tuple[bytes, ...]:
        """Keys of the apps whose metadata is in the file, sorted."""
        return tuple(sorted(self._metadata))

    def metadata(self, app_key: bytes) -> bytes:
        """The encoded metadata set; not verified. Raises NoSuchApp where the file has none."""
        entry = self._metadata.get(app_key)
        if entry is None:
            raise NoSuchApp(
                f"{self.path} does not hold {encode_key(app_key)}.",
                hint=f"It holds {', '.join(map(encode_key, self.apps)) or 'nothing'}.",
            )
        return self._read(entry)

    def block(self, block_id: bytes) -> bytes:
        """The block's bytes, hashed. Raises NoSuchBlock, DigestMismatch, ProtocolViolation, StoreError."""
        entry = self._blocks.get(block_id)
        if entry is None:
            raise NoSuchBlock(f"{self.path} does not hold block {block_id.hex()[:12]}.")
        data = self._read(entry, check=False)
        if sha256(data) != block_id:
            raise DigestMismatch(
                f"{self.path} holds other bytes than block {block_id.hex()[:12]}.", hint="Copy it again."
            )
        return data

    def block_ids(self) -> tuple[bytes, ...]:
        """Ids of all blocks in the file, in its order."""
        return tuple(self._blocks)

    def _read(self, entry: Entry, *, check: bool = True) -> bytes:
        try:
            with self._mutex:
                return self._archive.read(entry, check=check)
        except OSError as e:
            raise StoreError(f"Cannot read {self.path}: {e.strerror}.") from e

    def _list(self) -> None:
        links: Entry | None = None
        for name, entry in self._archive.entries():
            if match := _BLOCK.fullmatch(name):
                _bound(name, entry, BLOCK_BYTES)
                self._blocks[bytes.fromhex(match[1])] = entry
            elif match := _METADATA.fullmatch(name):
                _bound(name, entry, MAX_METADATA_BYTES)
                self._metadata[_key(match[1])] = entry
                if len(self._metadata) > MAX_APPS:
                    raise LimitExceeded(f"It holds more than {MAX_APPS} apps.")
            elif name == _LINKS:
                _bound(name, entry, MAX_LINKS_BYTES)
                links = entry
        if links is None:
            raise ProtocolViolation("It names no app.")
        self.links = _parse_links(self._archive.read(links))


def _bound(name: str, entry: Entry, limit: int) -> None:
    if entry.size > limit:
        raise LimitExceeded(f"Its entry {name} has {entry.size} bytes; at most {limit} are allowed.")


def _key(text: str) -> bytes:
    try:
        return decode_key(text)
    except BadLink as e:
        raise ProtocolViolation(f"It names an app wrongly: {e.message}") from e


def _parse_links(data: bytes) -> tuple[str, ...]:
    lines = data.decode("ascii", "replace").splitlines()
    if not 0 < len(lines) <= MAX_LINKS:
        raise ProtocolViolation(f"It names {len(lines)} apps; from 1 to {MAX_LINKS} are allowed.")
    try:
        return tuple(str(Link.parse(line)) for line in lines)
    except BadLink as e:
        raise ProtocolViolation(f"One of its links is none: {e.message}") from e
