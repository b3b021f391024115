"""The client workflow of The Update Framework (1.0.34, section 5) over one repository, step by step.

Written for repositories of anyone: the verifier is the product's own (`pearrt.trust`), asked for nothing but
what TUF itself demands (`PLAIN`). Each role is kept as soon as it is verified, so that what a broken update
brought in good order is not lost; that, the order of requests and the limits are python-tuf's. Files, network
and clock are handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import new as new_hash
from typing import Any, TypeVar

from pearrt.errors import DigestMismatch, PearrtError, ProtocolViolation, Rollback, TrustError, UserError
from pearrt.trust import root_chain
from pearrt.trust.authority import Authority, read_authority, read_signers
from pearrt.trust.checks import (
    check_blob,
    check_files,
    check_named,
    check_unexpired,
    check_version,
)
from pearrt.trust.delegation import Delegation
from pearrt.trust.envelope import Envelope
from pearrt.trust.metadata import Meta, Root, Snapshot, Targets, Timestamp
from pearrt.trust.profile import PLAIN
from pearrt.trust.shape import Shape
from pearrt.trust.threshold import check_threshold

MAX_ROOT_STEPS = 256
MAX_DELEGATIONS = 32
MAX_BIN_BITS = 32
HASHES = ("sha256", "sha512")

_Role = TypeVar("_Role")


class NotThereError(Exception):
    """The repository has no such file."""


@dataclass(frozen=True, slots=True)
class Target:
    """A file that verified metadata names: its path, length in bytes, hashes by name in hex."""

    path: str
    length: int
    hashes: dict[str, str]

    def fits(self, data: bytes) -> bool:
        return len(data) == self.length and all(
            new_hash(name, data).hexdigest() == self.hashes[name] for name in HASHES if name in self.hashes
        )


@dataclass(slots=True)
class Updater:
    """`load` and `store` keep metadata by role name; `fetch(role, version, max_bytes)` asks the repository.

    `load` gives None and `fetch` raises NotThereError where there is nothing.
    """

    load: Callable[[str], bytes | None]
    store: Callable[[str, bytes], None]
    fetch: Callable[[str, int | None, int], bytes]
    now: float
    root: Root = field(init=False)
    timestamp: Timestamp = field(init=False)
    snapshot: Snapshot = field(init=False)

    def refresh(self) -> Targets:
        """Brings the top-level roles up to date (5.3 to 5.6). Raises PearrtError, NotThereError."""
        self.root = self._trusted_root()
        for _ in range(MAX_ROOT_STEPS):
            try:
                raw = self.fetch("root", self.root.version + 1, PLAIN.max_bytes["root"])
            except NotThereError:
                break
            self.root = self._next_root(raw)
            self.store("root", raw)
        check_unexpired(self.root, self.now)
        self.timestamp = self._newest_timestamp()
        check_unexpired(self.timestamp, self.now)
        self.snapshot = self._newest_snapshot()
        check_unexpired(self.snapshot, self.now)
        return self._targets("targets", self.root.authorities["targets"])

    def find(self, path: str) -> Target:
        """The target of this name, in the most trusted role that has it (5.6.7). Raises UserError."""
        to_visit = [("targets", Authority({}, 1))]
        visited: dict[str, Targets] = {"targets": self.refresh()}
        seen: set[str] = set()
        while to_visit and len(seen) <= MAX_DELEGATIONS:
            name, authority = to_visit.pop()
            if name in seen:
                continue
            targets = visited[name] if name == "targets" else self._targets(name, authority)
            seen.add(name)
            if found := _target(targets, path):
                return found
            children = []
            for delegation in (*targets.delegations, *_hash_bin(targets, path)):
                if delegation.covers(path):
                    children.append((delegation.name, delegation.authority))
                    if delegation.terminating:
                        to_visit = []
                        break
            to_visit += reversed(children)
        raise UserError(f"{path!r} is no target of this repository.")

    def _trusted_root(self) -> Root:
        raw = self.load("root")
        if raw is None:
            raise UserError("There is no trusted root: init comes first.")
        root = Root.read(Envelope.parse("root", raw, profile=PLAIN))
        check_threshold(root.envelope, root.authorities["root"])
        return root

    def _next_root(self, raw: bytes) -> Root:
        root = root_chain.step(self.root, Envelope.parse("root", raw, profile=PLAIN))
        if root.version != self.root.version + 1:
            raise TrustError(f"Root {root.version} was offered as {self.root.version + 1}.")
        return root

    def _newest_timestamp(self) -> Timestamp:
        old = self._kept("timestamp", self._read_timestamp)
        raw = self.fetch("timestamp", None, PLAIN.max_bytes["timestamp"])
        new = self._read_timestamp(raw)
        if old is not None:
            if new.version < old.version:
                raise Rollback(f"Timestamp {new.version} was offered after {old.version}.")
            if new.version == old.version:
                return old
            check_version("snapshot", old.snapshot, new.snapshot)
        check_unexpired(new, self.now)
        self.store("timestamp", raw)
        return new

    def _newest_snapshot(self) -> Snapshot:
        named = self.timestamp.snapshot
        old = self._kept("snapshot", self._read_snapshot)
        if old is not None and old.version == named.version:
            return old
        raw = self._fetch("snapshot", named)
        check_blob("snapshot", raw, named)
        new = self._read_snapshot(raw)
        if old is not None:
            check_files(old.files, new.files)
        check_named(new, named)
        check_unexpired(new, self.now)
        self.store("snapshot", raw)
        return new

    def _targets(self, name: str, authority: Authority) -> Targets:
        """A targets role, its kept copy where that is the one named and unexpired."""
        named = self.snapshot.files.get(f"{name}.json")
        if named is None:
            raise TrustError(f"The snapshot does not name {name}.")

        def read(raw: bytes) -> Targets:
            check_blob(name, raw, named)
            envelope = Envelope.parse("targets", raw, name=name, profile=PLAIN)
            check_threshold(envelope, authority)
            targets = Targets.read(envelope)
            check_named(targets, named)
            check_unexpired(targets, self.now)
            return targets

        kept = self._kept(name, read)
        if kept is None:
            raw = self._fetch(name, named)
            kept = read(raw)
            self.store(name, raw)
        return kept

    def _kept(self, name: str, read: Callable[[bytes], _Role]) -> _Role | None:
        """What is on disk, unless today's keys no longer vouch for it."""
        raw = self.load(name)
        try:
            return None if raw is None else read(raw)
        except PearrtError:
            return None

    def _fetch(self, name: str, named: Meta) -> bytes:
        version = named.version if self.root.consistent_snapshot else None
        kind = "snapshot" if name == "snapshot" else "targets"
        return self.fetch(name, version, named.length or PLAIN.max_bytes[kind])

    def _read_timestamp(self, raw: bytes) -> Timestamp:
        envelope = Envelope.parse("timestamp", raw, profile=PLAIN)
        check_threshold(envelope, self.root.authorities["timestamp"])
        return Timestamp.read(envelope)

    def _read_snapshot(self, raw: bytes) -> Snapshot:
        envelope = Envelope.parse("snapshot", raw, profile=PLAIN)
        check_threshold(envelope, self.root.authorities["snapshot"])
        return Snapshot.read(envelope)


def _hash_bin(targets: Targets, path: str) -> list[Delegation]:
    """The one of many succinctly delegated roles that speaks for `path` (TAP 15); [] where there are none."""
    signed = targets.envelope.signed
    if "succinct_roles" not in signed.get("delegations", {}):
        return []
    shape = Shape(signed["delegations"], "delegations")
    bins = shape.object("succinct_roles")
    bits, prefix = bins.integer("bit_length", 1), bins.value.get("name_prefix")
    if bits > MAX_BIN_BITS or not isinstance(prefix, str) or "roles" in shape.value:
        raise bins.refuse("bit_length", "or `name_prefix` is misspelt, or there are `roles` beside it")
    authority = read_authority(bins, read_signers(shape, PLAIN), PLAIN)
    number = int.from_bytes(new_hash("sha256", path.encode()).digest()[:4], "big") >> (32 - bits)
    name = f"{prefix}-{number:0{len(f'{2**bits - 1:x}')}x}"
    return [Delegation(name, authority, (), hash_prefixes=("",))]


def _target(targets: Targets, path: str) -> Target | None:
    files: dict[str, Any] = targets.envelope.signed["targets"]
    if path not in files:
        return None
    entry = Shape(files[path], f"target {path}")
    hashes = entry.object("hashes").value
    if not any(name in hashes for name in HASHES):
        raise ProtocolViolation(f"{path!r} has no hash that can be checked.")
    return Target(path, entry.integer("length", 0), hashes)


def check_target(target: Target, data: bytes) -> None:
    """Raises DigestMismatch for other bytes than the target's."""
    if not target.fits(data):
        raise DigestMismatch(f"{target.path!r} is not the file that was signed for.")
