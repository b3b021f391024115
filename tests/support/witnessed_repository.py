"""A publisher in memory whose root names witnesses, written without pearrt's own code for them."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from dataclasses import replace
from typing import Any

from pearrt.link import encode_key
from pearrt.trust.metadata_set import MetadataSet
from tests.support.logged_repository import LoggedRepository, tree_hash
from tests.support.repository import NOW, Document, canonical, public_hex, signing_key

FIELD = "x-pearrt-witnesses"
WITNESSES = ("wim", "xia", "yan")


def field_of(names: tuple[str, ...], threshold: int) -> Document:
    keys = [{"name": name.title(), "public": public_hex(name)} for name in names]
    return {"keys": keys, "threshold": threshold}


def leaf(signed: Document) -> bytes:
    return hashlib.sha256(b"\x00" + canonical(signed)).digest()


def checkpoint_text(app_key: bytes, role: str, leaves: list[bytes]) -> str:
    """The note body of C2SP's tlog-checkpoint."""
    root = base64.b64encode(tree_hash(leaves)).decode()
    return f"pearrt-log-v1/{encode_key(app_key)}/{role}\n{len(leaves)}\n{root}\n"


def cosignature(name: str, text: str, time: int = int(NOW)) -> bytes:
    """Public key, time and signature: 104 bytes."""
    key = signing_key(name)
    signed = key.sign(f"cosignature/v1\ntime {time}\n{text}".encode()).signature
    return bytes(key.verify_key) + time.to_bytes(8, "big") + signed


def cosignatures(names: tuple[str, ...] | list[str], text: str, time: int = int(NOW)) -> bytes:
    return b"".join(sorted(cosignature(name, text, time) for name in names))


class WitnessedRepository(LoggedRepository):
    """2 of the 3 witnesses see everything: `seeing` are those who do."""

    def __init__(
        self, *args: Any, witnesses: tuple[str, ...] = WITNESSES, quorum: int = 2, **fields: Any
    ) -> None:
        self.seeing: list[str] = list(witnesses[:quorum])
        self.steps: dict[str, bytes] = {}
        self._named = field_of(witnesses, quorum) if witnesses else None
        super().__init__(*args, **fields)

    def set_keys(self, signers: tuple[str, ...], threshold: int, heartbeat: str) -> None:
        super().set_keys(signers, threshold, heartbeat)
        self["root"].pop(FIELD, None)
        if self._named is not None:
            self["root"][FIELD] = copy.deepcopy(self._named)

    def name_witnesses(self, *names: str, quorum: int = 0, seen_by: tuple[str, ...] | None = None) -> None:
        """A new root with these witnesses, or none; the step to it was seen by those who see now."""
        before = self.seeing if seen_by is None else list(seen_by)
        self._named = field_of(names, quorum) if names else None
        self.rotate(self.team, self.threshold)
        if before:
            self.steps[f"root/{len(self.roots)}"] = cosignatures(before, self.root_text())
        self.seeing = list(names[:quorum])
        self.release("rotated")

    def root_text(self) -> str:
        return checkpoint_text(self.app_key, "root", [leaf(json.loads(raw)["signed"]) for raw in self.roots])

    def targets_text(self) -> str:
        targets = json.loads(super().metadata().targets)["signed"]
        return checkpoint_text(self.app_key, "targets", [*self.leaves, leaf(targets)])

    def witnessed(self) -> dict[str, bytes]:
        heads = (
            {"targets": cosignatures(self.seeing, self.targets_text())} if self.leaves and self.seeing else {}
        )
        return {**self.steps, **heads}

    def metadata(self) -> MetadataSet:
        return replace(super().metadata(), witnessed=self.witnessed())

    def copy(self) -> WitnessedRepository:
        return copy.deepcopy(self)
