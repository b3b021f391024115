"""Whether sources give the bundle that was released, or where the two differ. Pure.

identical   the same index, byte for byte: same files, same manifest, same compressed blocks
same tree   the same files and the same manifest; only another compressor packed them
different   files, or what the manifest says
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pearrt.bundle.index import Index
from pearrt.crypto.hashes import sha256
from pearrt.publish.changes import FileChange, file_changes


class Outcome(Enum):
    IDENTICAL = "identical"
    SAME_TREE = "same-tree"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Reproduction:
    """Digests are of the indexes; trees are `Index.tree_digest`. `files` go from what was released to what
    the sources give; `manifest` names the fields that differ."""

    outcome: Outcome
    released: bytes
    rebuilt: bytes
    released_tree: bytes
    rebuilt_tree: bytes
    files: tuple[FileChange, ...]
    manifest: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether what runs would be the same."""
        return self.outcome is not Outcome.DIFFERENT


def compare(released: Index, rebuilt: Index) -> Reproduction:
    """Holds the index that sources give against the one that was released."""
    ours, theirs = sha256(rebuilt.encode()), sha256(released.encode())
    if ours == theirs:
        outcome = Outcome.IDENTICAL
    elif rebuilt.tree_digest == released.tree_digest:
        outcome = Outcome.SAME_TREE
    else:
        outcome = Outcome.DIFFERENT
    before, after = released.manifest.to_value(), rebuilt.manifest.to_value()
    fields = sorted(
        str(field) for field in before.keys() | after.keys() if before.get(field) != after.get(field)
    )
    return Reproduction(
        outcome,
        theirs,
        ours,
        released.tree_digest,
        rebuilt.tree_digest,
        file_changes(released, rebuilt),
        tuple(fields),
    )
