"""What a witness of one app has cosigned, and what it may cosign next. Pure.

- It checks all that it is shown from the app's key on, like any client, but for the cosignatures that it is
  asked for itself. So it has seen every release that it vouches for.
- It remembers the newest head of every log that it was shown (`witness.py`), and takes only what holds the
  whole of each: nothing older (Rollback), nothing else of the same size or beyond (Equivocation).
- What it has cosigned stays in the log for ever, whatever root follows: a team whose keys were misused goes
  on from there, in the open.
- It is remembered before it is signed: the caller keeps `encode()` durably, then asks for cosignatures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pearrt.codec import bencode
from pearrt.crypto import ed25519
from pearrt.crypto.hashes import DIGEST_BYTES
from pearrt.errors import BadSignature, Corrupt, Equivocation, RemoteError, Rollback, TrustError
from pearrt.trust import root_chain
from pearrt.trust.app import TrustedApp
from pearrt.trust.authority import Authority, key_id
from pearrt.trust.checks import check_same
from pearrt.trust.envelope import Envelope
from pearrt.trust.log import check_history, split
from pearrt.trust.merkle import leaf_hash, root_of
from pearrt.trust.metadata import Targets
from pearrt.trust.metadata_set import MAX_SET_BYTES, MetadataSet
from pearrt.trust.witness import (
    TARGETS,
    Checkpoint,
    Cosignature,
    is_signed_by_all,
    root_checkpoint,
    step_name,
)

FORK_HINT = "Two histories were signed. Cosign neither; tell the team, and keep both files."
MAX_HEADS = 1024
MAX_BOOK_BYTES = MAX_SET_BYTES + MAX_HEADS * 256


@dataclass(frozen=True, slots=True)
class Demand:
    """A head that `witnesses` have to cosign, by the name that their cosignatures have in a metadata set."""

    name: str
    checkpoint: Checkpoint
    witnesses: Authority


def demands(offered: TrustedApp) -> tuple[Demand, ...]:
    """Which heads want cosignatures: of what is said, and of the step to the root, unless it has them."""
    witnesses, found = offered.root.witnesses, list[Demand]()
    if witnesses is not None:
        found = [Demand(name, head, witnesses) for name, head in offered.checkpoints.items()]
    roots, version = offered.metadata.roots, offered.root.version
    if version > 1 and step_name(version) not in offered.metadata.witnessed:
        old = root_chain.root_at(roots, version - 1)
        if old.witnesses is not None and not is_signed_by_all(offered.root.envelope, old.authorities["root"]):
            found.append(Demand(step_name(version), _root_head(offered), old.witnesses))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class WitnessBook:
    """`heads` by origin; `metadata` is the set that was taken last, None before the first."""

    app_key: bytes
    heads: Mapping[str, Checkpoint] = field(default_factory=dict)
    metadata: MetadataSet | None = None

    def take(self, metadata: MetadataSet, now: float) -> tuple[WitnessBook, TrustedApp]:
        """The book with the heads of `metadata`, which begins with root 1, and what was verified.

        `metadata` need not be fresh: when it was made is the publisher's word. Raises TrustError, Rollback
        for a shorter log and Equivocation for another one among them; RemoteError.
        """
        offered = TrustedApp.first(self.app_key, metadata, now, allow_expired=True, unwitnessed=True)
        shown = _logs_of(offered)
        for origin, (checkpoint, leaves) in shown.items():
            known = self.heads.get(origin)
            if known is not None:
                self._check_extends(known, checkpoint, leaves, offered)
        heads = {**self.heads, **{origin: checkpoint for origin, (checkpoint, _) in shown.items()}}
        if len(heads) > MAX_HEADS:
            raise TrustError(f"The app has had more than {MAX_HEADS} logs.")
        return replace(self, heads=heads, metadata=offered.metadata), offered

    def _check_extends(
        self, known: Checkpoint, checkpoint: Checkpoint, leaves: list[bytes], offered: TrustedApp
    ) -> None:
        if checkpoint.size < known.size:
            raise Rollback(
                f"This is statement {checkpoint.size} of {known.origin}; {known.size} of them were shown here"
                " before.",
                hint="Ask the publisher for the newest file.",
            )
        if root_of(leaves[: known.size]) != known.root:
            self._explain(offered)
            raise Equivocation(
                f"The first {known.size} statements of {known.origin} are not those that were shown here"
                " before.",
                hint=FORK_HINT,
            )

    def _explain(self, offered: TrustedApp) -> None:
        """Raises the Equivocation that proves a fork to anyone, where it is one of targets."""
        if self.metadata is None:
            return
        before = Envelope.parse(TARGETS, self.metadata.targets)
        after = offered.targets.envelope
        known = Targets.read(before)
        if known.version == offered.targets.version:
            check_same(known, offered.targets)
        check_history(before, self.metadata.logs, after, offered.metadata.logs)

    def cosign(self, offered: TrustedApp, seed: bytes, now: float) -> dict[str, Cosignature]:
        """Cosignatures of what `take` gave, by name. Raises BadSignature where the key is no witness's."""
        public = ed25519.public_key(seed)
        due = demands(offered)
        mine = [each for each in due if key_id(public) in each.witnesses.signers]
        if not mine:
            names = sorted({witness.name for each in due for witness in each.witnesses.signers.values()})
            raise BadSignature(
                "This key is none of the app's witnesses." if due else "This needs no witnesses.",
                hint=f"Witnesses: {', '.join(names)}." if names else "",
            )
        if any(self.heads.get(each.checkpoint.origin) != each.checkpoint for each in mine):
            raise ValueError("cosigning what was not taken into the book")
        return {each.name: Cosignature.make(seed, each.checkpoint, int(now)) for each in mine}

    # -- on disk

    def encode(self) -> bytes:
        """Bencode: {heads: {origin: [size, root]}, metadata: the encoded set, empty before the first}."""
        heads = {origin: [head.size, head.root] for origin, head in self.heads.items()}
        metadata = b"" if self.metadata is None else self.metadata.encode()
        return bencode.encode({"heads": heads, "metadata": metadata})

    @classmethod
    def decode(cls, app_key: bytes, data: bytes) -> WitnessBook:
        """The inverse of `encode`. Raises Corrupt."""
        try:
            value = bencode.decode(data, max_depth=3, max_items=4 * MAX_HEADS + 8)
            match value:
                case {b"heads": dict() as heads, b"metadata": bytes() as raw}:
                    found = {origin.decode(): _head(origin, entry) for origin, entry in heads.items()}
                    return cls(app_key, found, MetadataSet.decode(raw) if raw else None)
        except (RemoteError, ValueError) as e:
            raise Corrupt(f"What this witness has cosigned is damaged: {e}", hint=_RESTORE) from e
        raise Corrupt("What this witness has cosigned is damaged.", hint=_RESTORE)


_RESTORE = "Restore it from a backup. A witness that forgot is none: have the team name another key."


def _head(origin: bytes, entry: object) -> Checkpoint:
    match entry:
        case [int() as size, bytes() as root] if size > 0 and len(root) == DIGEST_BYTES:
            return Checkpoint(origin.decode(), size, root)
    raise ValueError("a head is none")


def _root_head(offered: TrustedApp) -> Checkpoint:
    return root_checkpoint(offered.app_key, root_chain.root_leaves(offered.metadata.roots))


def _logs_of(offered: TrustedApp) -> dict[str, tuple[Checkpoint, list[bytes]]]:
    """Every log that the metadata shows, with its leaf hashes, by origin."""
    leaves = root_chain.root_leaves(offered.metadata.roots)
    head = root_checkpoint(offered.app_key, leaves)
    found = {head.origin: (head, leaves)}
    for name, checkpoint in offered.checkpoints.items():
        said = offered.channels.get(name, offered.targets)
        log = split(offered.metadata.logs.get(name, b""))
        found[checkpoint.origin] = (checkpoint, [*log, leaf_hash(said.envelope.payload)])
    return found
