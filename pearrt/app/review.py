"""Reviewing a request: all that it says of a bundle is computed again on this machine, from the bundle.

    request -> blocks (peers, store, .pear file, sources) -> index digest -> every file -> what changed

A bundle counts only when its index, put together from its blocks or staged from sources, has the digest, size
and blocks that the request names, and when every file unpacks to what that index says. Nothing is taken from
whoever wrote the request.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pearrt.bundle.index import Index, split_index
from pearrt.bundle.pear_file import PearFile
from pearrt.bundle.stage import stage_tree
from pearrt.bundle.unpack import unpack
from pearrt.crypto.hashes import sha256
from pearrt.errors import DigestMismatch, PearrtError, StoreError, UserError
from pearrt.publish.changes import FileChange, ReleaseChange, file_changes
from pearrt.publish.stage import from_project
from pearrt.sandbox.policy import Permissions
from pearrt.store.service import Store
from pearrt.trust.release import Release

MAX_DIFF_BYTES = 1 << 20
MAX_DIFF_LINES = 5000

GetBlock = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Source:
    """Where blocks come from: `indexes` are the digests of those that it is known to hold whole."""

    name: str
    get_block: GetBlock
    digests: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was recomputed: its tree lies in `folder`, where it was unpacked and checked."""

    index: Index
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What a review of one changed release found. `wider`: permissions beyond those before, or the defaults.

    `before` is None where nothing was released before, or where that could not be had.
    """

    change: ReleaseChange
    source: str
    after: Bundle
    before: Bundle | None
    files: tuple[FileChange, ...]
    permissions: list[str]
    wider: list[str]
    warnings: list[str] = field(default_factory=list)
    attested: list[str] = field(default_factory=list)  # who rebuilt it from the sources, and what came of it


def open_index(release: Release, get_block: GetBlock) -> Index:
    """The index of a release out of its blocks. Raises NoSuchBlock, DigestMismatch, RemoteError."""
    data = b"".join(get_block(block_id) for block_id in release.index_blocks)
    check_index(release, data)
    return Index.parse(data)


def check_index(release: Release, data: bytes) -> None:
    """Raises DigestMismatch unless these are the bytes that the request names."""
    blocks = tuple(block_id for block_id, _ in split_index(data))
    if (sha256(data), len(data), blocks) != (
        release.index_digest,
        release.index_size,
        release.index_blocks,
    ):
        raise DigestMismatch(
            f"The bundle for {release.path} has the index {sha256(data).hex()[:16]}…, "
            f"the request names {release.index_digest.hex()[:16]}….",
            hint="Do not sign: the request is not for this bundle.",
        )


def recompute(release: Release, get_block: GetBlock, folder: Path) -> Bundle:
    """Unpacks a bundle below `folder`: each frame and each file is checked. Raises as `open_index`."""
    index = open_index(release, get_block)
    tree = folder / release.index_digest.hex()
    if not tree.exists():
        unpack(index, get_block, tree, sync=False)
    return Bundle(index, tree)


def holds(release: Release, store: Store) -> bool:
    """Whether the store has every block of a bundle."""
    try:
        index = open_index(release, store.get)
    except PearrtError:
        return False
    return all(store.has(block.id) for block in index.blocks)


@contextlib.contextmanager
def open_source(path: Path, folder: Path) -> Iterator[Source]:
    """What the reviewer has at hand: a `.pear` file, or sources, which are staged anew into `folder`.

    Raises UserError, or RemoteError for a file that is none.
    """
    if path.is_dir():
        yield _staged(path, folder)
    else:
        with PearFile(path) as file:
            yield Source(str(path), file.block)


def _staged(path: Path, folder: Path) -> Source:
    """A bundle made from sources; its blocks are kept in a store that goes away with the folder."""
    blocks = folder / f"blocks-{sha256(str(path).encode()).hex()[:16]}"
    blocks.mkdir()

    def put(block_id: bytes, data: bytes) -> None:
        (blocks / block_id.hex()).write_bytes(data)

    with from_project(path) as prepared:
        staged = stage_tree(prepared.folder, prepared.manifest, put)

    def get(block_id: bytes) -> bytes:
        try:
            return (blocks / block_id.hex()).read_bytes()
        except OSError as e:
            raise StoreError(f"{path} gives no block {block_id.hex()[:12]}.") from e

    return Source(str(path), get, frozenset({staged.digest}))


def examine(change: ReleaseChange, source: str, after: Bundle, before: Bundle | None) -> Findings:
    """Compares a recomputed bundle with the one before it."""
    manifest, release = after.index.manifest, change.after
    assert release is not None
    permissions = Permissions.parse(manifest.permissions)
    old = Permissions() if before is None else Permissions.parse(before.index.manifest.permissions)
    wider = permissions.widens(old)
    known = set(old.describe())
    warnings = [
        f"its manifest says {what} {mine!r}, the release says {theirs!r}"
        for what, mine, theirs in (
            ("name", manifest.name, release.name),
            ("version", manifest.version, release.version),
            ("platform", manifest.platform, release.platform),
        )
        if mine != theirs
    ]
    if before is not None and before.index.manifest.kind != manifest.kind:
        warnings.append(f"its kind changes from {before.index.manifest.kind} to {manifest.kind}")
    if before is not None and before.index.manifest.entry != manifest.entry:
        warnings.append(f"it starts {manifest.entry} instead of {before.index.manifest.entry}")
    if change.before is not None and before is None:
        warnings.append("the release before it could not be had: all files count as added")
    return Findings(
        change,
        source,
        after,
        before,
        file_changes(None if before is None else before.index, after.index),
        permissions.describe(),
        [line for line in permissions.describe() if line not in known] if wider else [],
        warnings,
    )


def text_diff(findings: Findings, path: str) -> list[str]:
    """A unified diff of one file, without line ends. Raises UserError for a path that is in neither tree."""
    sides = []
    for bundle in (findings.before, findings.after):
        file = None if bundle is None or bundle.folder is None else bundle.folder / path
        named = bundle is not None and any(each.path == path for each in bundle.index.files)
        sides.append(_lines(file) if file is not None and named else None)
    if sides == [None, None]:
        raise UserError(f"{path!r} is in neither bundle.", hint="The review lists the files by their paths.")
    old, new = (side or [] for side in sides)
    lines = list(difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", lineterm=""))
    if len(lines) > MAX_DIFF_LINES:
        return [*lines[:MAX_DIFF_LINES], f"… {len(lines) - MAX_DIFF_LINES} more lines"]
    return lines


def _lines(path: Path) -> list[str]:
    """Lines of a text. Raises UserError where it is none, or too long to be read by a person."""
    if path.stat().st_size > MAX_DIFF_BYTES:
        raise UserError(f"{path.name} is larger than {MAX_DIFF_BYTES >> 20} MiB.")
    data = path.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError as e:
        raise UserError(f"{path.name} is no text; its SHA-256 is {sha256(data).hex()}.") from e
    if "\0" in text:
        raise UserError(f"{path.name} is no text; its SHA-256 is {sha256(data).hex()}.")
    return text.splitlines()
