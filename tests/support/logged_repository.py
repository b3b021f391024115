"""A publisher in memory that keeps a log of its releases, written without pearrt's Merkle trees."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

from pearrt.trust.metadata_set import MetadataSet
from tests.support.repository import Repository, canonical

FIELD = "x-pearrt-log"


def tree_hash(leaves: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, word for word."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256().digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:k]) + tree_hash(leaves[k:])).digest()


class LoggedRepository(Repository):
    """Every release from the first commits to the statements before it."""

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, **fields)
        self.leaves: list[bytes] = []
        self.payloads: list[bytes] = []
        self._commit({})

    def release(self, version: str, path: str = "stable/any") -> LoggedRepository:
        before = json.loads(self.metadata().targets)
        signatures = {each["keyid"]: each["sig"] for each in before["signatures"]}
        self.payloads.append(canonical(before["signed"]))
        self.leaves.append(hashlib.sha256(b"\x00" + self.payloads[-1]).digest())
        super().release(version, path)
        self._commit(signatures)
        return self

    def _commit(self, signatures: dict[str, str]) -> None:
        head = {"size": len(self.leaves), "root": tree_hash(self.leaves).hex(), "signatures": signatures}
        self["targets"][FIELD] = head

    def metadata(self) -> MetadataSet:
        logs = {"targets": b"".join(self.leaves)} if self.leaves else {}
        return replace(super().metadata(), logs=logs)

    def blocks(self) -> dict[bytes, bytes]:
        """The leaves by their hashes."""
        return {hashlib.sha256(b"\x00" + each).digest(): b"\x00" + each for each in self.payloads}
