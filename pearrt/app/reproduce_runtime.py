"""Whether a release of the runtime is what its source tree gives: built again, compared byte by byte.

What is claimed is the index that the signers signed; what it is held against is built here from a source
tree, that tree's lock file and the locked wheels, the way `packaging/runtime_release.py` does it. Nothing of
the claimed bundle but its index is needed. Three outcomes:

- the same index: the release is this source, bit for bit;
- the same tree under another index: every file is the same, a different version of the compression library
  packed it;
- other files, which are named.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pearrt.bundle.index import File, Index
from pearrt.crypto.hashes import sha256
from pearrt.errors import UserError
from pearrt.publish.runtime_lock import RuntimeLock, Variant
from pearrt.publish.runtime_stage import NAME, stage_variant, temporary_tree
from pearrt.publish.runtime_wheels import fetch_wheels

LOCK = Path("packaging") / "runtime.lock"


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that differs: size and SHA-256 in hex on each side, None where it is not there at all."""

    path: str
    claimed: tuple[int, str] | None
    rebuilt: tuple[int, str] | None


@dataclass(frozen=True, slots=True)
class Reproduction:
    """Digests of both indexes, and of both trees; `differences` is empty exactly when the trees agree in
    files."""

    platform: str
    version: str
    claimed: bytes
    rebuilt: bytes
    same_tree: bool
    differences: tuple[Difference, ...]

    @property
    def same(self) -> bool:
        """Whether the release is reproduced bit for bit."""
        return self.claimed == self.rebuilt

    @property
    def sentence(self) -> str:
        """The outcome for a person."""
        what = f"pearrt {self.version} for {self.platform}"
        if self.same:
            return f"{what} is this source, bit for bit."
        if self.same_tree:
            return f"{what} has the very files of this source, packed by another compression library."
        if not self.differences:
            return f"{what} has the files of this source, but describes itself otherwise."
        return f"{what} is not this source: {len(self.differences)} files differ."


def reproduce_runtime(index_bytes: bytes, source: Path, wheels: Path | None = None) -> Reproduction:
    """Builds the variant that a verified index claims to be. `wheels` is where the locked files lie or are
    fetched to.

    Raises UserError where the index is no runtime, the source tree or a wheel is missing; DigestMismatch for
    a wheel that is not the locked one.
    """
    index = Index.parse(index_bytes)
    if index.manifest.name != NAME:
        raise UserError(f"{index.manifest.name} is not the runtime.", hint="Without --runtime it may work.")
    variant = Variant.parse(index.manifest.platform)
    lock = read_lock(source)
    with tempfile.TemporaryDirectory(prefix="pearrt-wheels-") as temporary:
        folder = wheels or Path(temporary)
        fetch_wheels(lock, variant.tag, folder)
        with temporary_tree(lock, variant, source, folder) as tree:
            rebuilt = stage_variant(tree, variant, lambda block_id, data: None)
    return Reproduction(
        platform=variant.tag,
        version=index.manifest.version,
        claimed=sha256(index_bytes),
        rebuilt=rebuilt.digest,
        same_tree=index.tree_digest == rebuilt.index.tree_digest,
        differences=tuple(_differences(index, rebuilt.index)),
    )


def read_lock(source: Path) -> RuntimeLock:
    """The lock file of a source tree. Raises UserError."""
    try:
        text = (source / LOCK).read_text(encoding="utf-8")
    except OSError as e:
        raise UserError(f"{source} has no {LOCK.as_posix()}: {e.strerror}.") from e
    return RuntimeLock.parse(text)


def _differences(claimed: Index, rebuilt: Index) -> Iterator[Difference]:
    here, there = ({file.path: file for file in index.files} for index in (claimed, rebuilt))
    for path in sorted(here.keys() | there.keys()):
        if here.get(path) != there.get(path):
            yield Difference(path, _named(here.get(path)), _named(there.get(path)))


def _named(file: File | None) -> tuple[int, str] | None:
    return (file.size, file.sha256.hex()) if file else None
