"""Merkle trees as RFC 9162, section 2.1, defines them: hashes, roots and inclusion proofs. Pure.

    leaf   SHA-256(0x00 data)          node   SHA-256(0x01 left right)          empty tree   SHA-256()

A tree is its leaf hashes, oldest first. Proofs are sequences of hashes, deepest first, at most one for each
level.
"""

from __future__ import annotations

from collections.abc import Sequence

from pearrt.crypto.hashes import sha256

LEAF = b"\x00"
NODE = b"\x01"


def leaf_hash(data: bytes) -> bytes:
    """The hash of one entry (2.1.1)."""
    return sha256(LEAF + data)


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two neighbouring subtrees (2.1.1)."""
    return sha256(NODE + left + right)


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The hash of the tree with these leaf hashes (2.1.1), in linear time."""
    edge: list[bytes] = []  # the complete subtrees from the left, the largest first
    for position, leaf in enumerate(leaves):
        edge.append(leaf)
        while position & 1:  # as many merges as the position has ones at its end
            right = edge.pop()
            edge[-1] = node_hash(edge[-1], right)
            position >>= 1  # noqa: PLW2901 (the bits are consumed)
    if not edge:
        return sha256(b"")
    root = edge.pop()
    while edge:
        root = node_hash(edge.pop(), root)
    return root


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """What `root_by_inclusion` needs for the leaf at `index`, from 0 (2.1.3.1)."""
    if len(leaves) == 1:
        return ()
    split = _split(len(leaves))
    if index < split:
        return (*inclusion_proof(leaves[:split], index), root_of(leaves[split:]))
    return (*inclusion_proof(leaves[split:], index - split), root_of(leaves[:split]))


def root_by_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """The root of the tree of `size` with `leaf` at `index`, if the proof has its shape (2.1.3.2)."""
    if not 0 <= index < size:
        return None
    node, last, root = index, size - 1, leaf
    for other in proof:
        if last == 0:
            return None
        if node & 1 or node == last:
            root = node_hash(other, root)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            root = node_hash(root, other)
        node, last = node >> 1, last >> 1
    return root if last == 0 else None


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)
