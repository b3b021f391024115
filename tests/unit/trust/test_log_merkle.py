"""Merkle trees against the definitions of RFC 9162, written out a second time, and against its known
hashes."""

from __future__ import annotations

import hashlib

import pytest

from pearrt.trust.merkle import inclusion_proof, leaf_hash, node_hash, root_by_inclusion, root_of

SIZES = range(1, 34)
# The tree of the test data of RFC 6962's reference implementation, as certificate-transparency-go has it.
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def leaves(size: int) -> list[bytes]:
    return [leaf_hash(b"%d" % number) for number in range(size)]


def definition(hashes: list[bytes]) -> bytes:
    """MTH of RFC 9162, 2.1.1, word for word."""
    if not hashes:
        return hashlib.sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    return hashlib.sha256(b"\x01" + definition(hashes[:k]) + definition(hashes[k:])).digest()


def test_roots_are_those_of_the_reference_implementation() -> None:
    hashes = [leaf_hash(entry) for entry in ENTRIES]
    assert [root_of(hashes[:size]).hex() for size in range(1, 9)] == ROOTS
    assert root_of([]) == hashlib.sha256().digest()


@pytest.mark.parametrize("size", SIZES)
def test_every_leaf_is_shown_to_be_included(size: int) -> None:
    tree = leaves(size)
    root = root_of(tree)
    assert root == definition(tree)
    for index in range(size):
        proof = inclusion_proof(tree, index)
        assert len(proof) <= (size - 1).bit_length()
        assert root_by_inclusion(tree[index], index, size, proof) == root


@pytest.mark.parametrize("size", SIZES)
def test_an_inclusion_proof_shows_nothing_else(size: int) -> None:
    tree = leaves(size)
    root = root_of(tree)
    for index in range(size):
        proof = inclusion_proof(tree, index)
        assert root_by_inclusion(leaf_hash(b"secret"), index, size, proof) != root
        assert root_by_inclusion(tree[index], index, size, (*proof, root)) is None
        if proof:
            assert root_by_inclusion(tree[index], index, size, proof[:-1]) is None
            assert root_by_inclusion(tree[index], index, size, (root, *proof[1:])) != root
        for other in set(range(size)) - {index}:
            assert root_by_inclusion(tree[index], other, size, proof) != root
    assert root_by_inclusion(tree[0], size, size, ()) is None
    assert root_by_inclusion(tree[0], -1, size, ()) is None


def test_a_leaf_is_never_taken_for_a_node() -> None:
    assert node_hash(b"a" * 32, b"b" * 32) != leaf_hash(b"a" * 32 + b"b" * 32)
