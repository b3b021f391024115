"""The log of releases: every targets metadata commits to all that came before it, so that nobody can be shown
a history of their own.

A log is a Merkle tree (`merkle.py`, RFC 9162). Its leaves are the canonical signed bytes of each earlier
version, in order and without gaps; the field `x-pearrt-log` of a targets metadata is the head of that tree:

    {"size": n, "root": hex, "signatures": {key id: hex, …}}

- A statement of version v with a log of size n has the versions v-n to v-1 as its leaves. v-n never changes.
- The leaf hashes travel beside the metadata, 32 bytes each, and have to give the signed root. So whoever
  holds a metadata set can show inclusion and consistency to anyone without asking.
- An update is taken only if its log begins with the log that is trusted, followed by what is trusted itself.
  Anything else is an Equivocation, with two inclusion proofs (RFC 9162, 2.1.3) that show it to anyone.
- A publisher may begin late: the field is optional once. Once it was seen it must stay.
- `signatures` are those of the version before: so the leaves alone tell who signed what.

Each leaf is content-addressed besides: leaf hash = SHA-256(0x00 payload), the id of a block that peers serve.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pearrt.codec import bencode
from pearrt.crypto.hashes import DIGEST_BYTES, sha256
from pearrt.errors import (
    DigestMismatch,
    Equivocation,
    LimitExceeded,
    ProtocolViolation,
    TrustError,
    UserError,
)
from pearrt.trust.envelope import Envelope
from pearrt.trust.merkle import inclusion_proof, leaf_hash, root_by_inclusion, root_of
from pearrt.trust.shape import HEX_32, Shape

FIELD = "x-pearrt-log"
MAX_LEAVES = 8192
MAX_LOG_BYTES = MAX_LEAVES * DIGEST_BYTES
MAX_SIGNATURES = 16
MAX_PROOF_HASHES = MAX_LEAVES.bit_length()
MAX_EVIDENCE_BYTES = 2 * (MAX_PROOF_HASHES + 1) * DIGEST_BYTES + 64

_HEX_64 = re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True, slots=True)
class LogHead:
    """The signed head of a log. `signatures` of the statement before this one, 64 bytes by key id."""

    size: int
    root: bytes
    signatures: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Statement:
    """One targets metadata as a log sees it: raw blob, version, canonical `signed`, head of its log."""

    raw: bytes
    version: int
    payload: bytes
    head: LogHead | None

    @property
    def first(self) -> int:
        """The version that is the first leaf, or would be if nothing came before this one."""
        return self.version - (self.head.size if self.head else 0)


# -- the field


def parse_head(targets: Shape, version: int) -> LogHead | None:
    """The field of targets metadata of `version`, None where it is absent. Raises ProtocolViolation."""
    if FIELD not in targets.value:
        return None
    head = targets.object(FIELD)
    head.only("size", "root", "signatures")
    size = head.integer("size", 0)
    if size >= version:
        raise head.refuse("size", f"is more than the {version - 1} versions before this one")
    if size > MAX_LEAVES:
        raise LimitExceeded(f"a log of {size} releases, at most {MAX_LEAVES} are allowed")
    signatures = head.object("signatures")
    if len(signatures.value) > MAX_SIGNATURES:
        raise head.refuse("signatures", f"are more than {MAX_SIGNATURES}")
    if not all(HEX_32.fullmatch(keyid) for keyid in signatures.value):
        raise head.refuse("signatures", "stand under something that is no key id")
    found = {keyid: bytes.fromhex(signatures.match(keyid, _HEX_64)) for keyid in signatures.value}
    return LogHead(size, bytes.fromhex(head.match("root", HEX_32)), found)


def head_fields(head: LogHead) -> dict[str, Any]:
    """What `parse_head` reads."""
    signatures = {keyid: signature.hex() for keyid, signature in head.signatures.items()}
    return {"size": head.size, "root": head.root.hex(), "signatures": signatures}


def empty_head() -> LogHead:
    """The head of a log that begins now."""
    return LogHead(0, sha256(b""))


def next_head(before: Statement, log: bytes, signatures: Mapping[str, bytes]) -> LogHead:
    """The head for the version after `before`, whose own log has the leaf hashes `log`. Raises UserError."""
    leaves = split(log)
    if len(leaves) >= MAX_LEAVES:
        raise UserError(
            f"This app has had {MAX_LEAVES} releases, as many as its log holds.",
            hint="Make a new app with `pearrt app new`.",
        )
    return LogHead(len(leaves) + 1, root_of([*leaves, leaf_hash(before.payload)]), dict(signatures))


def next_log(before: Statement, log: bytes, after: Statement) -> bytes:
    """The leaf hashes that go with `after`, which `before` with its leaf hashes `log` precedes."""
    if after.head is None or after.head.size == 0:
        return b""
    return log if after.payload == before.payload else log + leaf_hash(before.payload)


# -- what a client checks


def statement_of(envelope: Envelope) -> Statement:
    """What a log sees of targets metadata in an envelope. Raises ProtocolViolation, LimitExceeded."""
    shape = Shape(envelope.signed, envelope.name)
    version = shape.integer("version", 1)
    return Statement(envelope.raw, version, envelope.payload, parse_head(shape, version))


def check_logs(statements: Iterable[Envelope], logs: Mapping[str, bytes]) -> None:
    """Holds all logs that came with a metadata set, by role, against the heads in its targets metadata.

    Raises DigestMismatch where one is another, is missing, or belongs to nothing; RemoteError.
    """
    if (size := sum(map(len, logs.values()))) > MAX_LOG_BYTES:
        raise LimitExceeded(f"logs of {size} bytes, at most {MAX_LOG_BYTES} are allowed")
    left = dict(logs)
    for envelope in statements:
        check_log(statement_of(envelope), left.pop(envelope.name, b""))
    if left:
        raise DigestMismatch("A log of releases belongs to none of the metadata beside it.")


def check_history(
    before: Envelope, logs: Mapping[str, bytes], after: Envelope, later_logs: Mapping[str, bytes]
) -> None:
    """`check_extends` for two envelopes of one role and the logs of their sets, which were checked."""
    check_extends(
        statement_of(before),
        logs.get(before.name, b""),
        statement_of(after),
        later_logs.get(after.name, b""),
    )


def split(log: bytes) -> list[bytes]:
    """The leaf hashes, 32 bytes each. Raises ProtocolViolation, LimitExceeded."""
    if len(log) > MAX_LOG_BYTES:
        raise LimitExceeded(f"a log of {len(log)} bytes, at most {MAX_LOG_BYTES} are allowed")
    if len(log) % DIGEST_BYTES:
        raise ProtocolViolation("a log that holds no whole number of hashes")
    return [log[at : at + DIGEST_BYTES] for at in range(0, len(log), DIGEST_BYTES)]


def check_log(statement: Statement, log: bytes) -> None:
    """Holds the leaf hashes against the signed head. Raises DigestMismatch for others, RemoteError."""
    leaves = split(log)
    size, root = (statement.head.size, statement.head.root) if statement.head else (0, sha256(b""))
    if len(leaves) != size or root_of(leaves) != root:
        raise DigestMismatch("The log of releases is not the one that was signed for.")


def check_extends(before: Statement, log: bytes, after: Statement, later_log: bytes) -> None:
    """Whether `after` knows the history that `before` stands in: all of its log, then `before` itself.

    Both logs were checked. Raises Equivocation where it knows another, TrustError where it knows none.
    """
    if after.version <= before.version:
        return
    if after.head is None:
        if before.head is not None:
            raise TrustError("The app's log of releases is missing in the offered metadata; it must stay.")
        return
    if before.head is not None and before.first != after.first:
        raise _fork(before, after, b"")
    mine = [*split(log), leaf_hash(before.payload)]
    theirs = split(later_log)
    offset = before.first - after.first  # not 0 only where `before` has no log
    if offset < 0:
        return  # the log began after what is trusted here
    for index, leaf in enumerate(mine):
        if theirs[offset + index] != leaf:
            raise _fork(before, after, _evidence(mine, index, theirs, offset + index))


def _evidence(mine: Sequence[bytes], index: int, theirs: Sequence[bytes], place: int) -> bytes:
    """[place, leaf, path, other leaf, other path]: what stands at one place of two logs. Of the last of
    `mine`, which is the first statement itself, no path is needed."""
    path = inclusion_proof(mine[:-1], index) if index < len(mine) - 1 else ()
    other_path = inclusion_proof(theirs, place)
    return bencode.encode([place, mine[index], b"".join(path), theirs[place], b"".join(other_path)])


def _fork(before: Statement, after: Statement, evidence: bytes) -> Equivocation:
    return Equivocation(
        f"The history of releases that targets {after.version} names is not the one that targets"
        f" {before.version} stands in: somebody was shown a release that others never saw.",
        first=before.raw,
        second=after.raw,
        evidence=evidence,
    )


def shows_fork(first: Statement, second: Statement, evidence: bytes) -> bool:
    """Whether two statements of different versions contradict each other, by what `check_extends` found.

    Raises ProtocolViolation or LimitExceeded for evidence that is none.
    """
    if second.head is None or first.version >= second.version:
        return False
    if not evidence:
        return first.head is not None and first.first != second.first
    place, leaf, path, other, other_path = _parse_evidence(evidence)
    if leaf == other or root_by_inclusion(other, place, second.head.size, other_path) != second.head.root:
        return False
    if second.first + place == first.version:
        return leaf == leaf_hash(first.payload)
    return (
        first.head is not None
        and first.first == second.first
        and root_by_inclusion(leaf, place, first.head.size, path) == first.head.root
    )


def _parse_evidence(data: bytes) -> tuple[int, bytes, list[bytes], bytes, list[bytes]]:
    if len(data) > MAX_EVIDENCE_BYTES:
        raise LimitExceeded(f"evidence of {len(data)} bytes, at most {MAX_EVIDENCE_BYTES} are allowed")
    match bencode.decode(data, max_depth=1, max_items=6):
        case [int() as place, bytes() as leaf, bytes() as path, bytes() as other, bytes() as other_path]:
            if place >= 0 and len(leaf) == len(other) == DIGEST_BYTES:
                return place, leaf, split(path), other, split(other_path)
    raise ProtocolViolation("evidence of a fork that is none")
