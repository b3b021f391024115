"""The past of one role, read from the leaves of its log and verified from the link alone. Pure.

Each leaf is bound by its hash to the signed log; its signatures stand in the version after it and have to
meet the threshold of a root of its time. Roots only move on: a version is never vouched for by a root older
than the one that vouched for the version before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from pearrt.errors import DigestMismatch, ThresholdNotMet
from pearrt.trust.app import TrustedApp
from pearrt.trust.authority import Authority, Signer
from pearrt.trust.envelope import MAX_BYTES, Envelope, seal
from pearrt.trust.log import LogHead, split, statement_of
from pearrt.trust.merkle import LEAF, leaf_hash
from pearrt.trust.metadata import Root, Targets
from pearrt.trust.threshold import is_met, valid_keys

TARGETS = "targets"

Fetch = Callable[[bytes], bytes | None]


@dataclass(frozen=True, slots=True)
class Past:
    """One version. `targets` is None where only its hash is known; `signed_by` are those whose signature is
    valid, of the signers that root `root_version` names (of a channel: targets of that version)."""

    version: int
    leaf: bytes
    targets: Targets | None = None
    signed_by: tuple[Signer, ...] = ()
    threshold: int = 0
    root_version: int = 0

    @property
    def head(self) -> LogHead | None:
        return statement_of(self.targets.envelope).head if self.targets else None


def read_history(trusted: TrustedApp, role: str, leaf: Fetch) -> list[Past]:
    """All versions in the log of the targets role, or of a channel with signers of its own, oldest first, and
    then the current one.

    `leaf(hash)` gives a leaf's bytes, None where they are not at hand. Raises DigestMismatch for other bytes,
    ThresholdNotMet for a version that not enough signers of its time signed, RemoteError for malformed ones.
    """
    newest = trusted.targets if role == TARGETS else trusted.channels[role]
    hashes = [*split(trusted.metadata.logs.get(role, b"")), leaf_hash(newest.envelope.payload)]
    blobs = [_payload(each, leaf) for each in hashes[:-1]] + [newest.envelope.payload]
    first = newest.version - len(hashes) + 1
    powers = _powers(trusted, role, leaf)
    found: list[Past] = []
    for position, (payload, signatures) in enumerate(_signed(blobs, newest.envelope, role)):
        version, hash_ = first + position, hashes[position]
        if payload is None:
            found.append(Past(version, hash_))
            continue
        targets = Targets.read(_envelope(role, seal(payload, signatures)))
        if targets.version != version or targets.app_id != trusted.root.app_id:
            raise DigestMismatch(f"Version {version} of the log is another, or another app's.")
        while len(powers) > 1 and not is_met(targets.envelope, powers[0][0]):
            powers.pop(0)
        found.append(_past(targets, hash_, *powers[0]))
    return found


def _powers(trusted: TrustedApp, role: str, leaf: Fetch) -> list[tuple[Authority, int]]:
    """Who could sign the role, oldest first, with the root (or the targets) version that says so."""
    if role == TARGETS:
        roots = [Root.read(Envelope.parse("root", raw)) for raw in trusted.metadata.roots]
        return [(root.authorities[TARGETS], root.version) for root in roots]
    past = [each.targets for each in read_history(trusted, TARGETS, leaf) if each.targets is not None]
    return [
        (delegation.authority, targets.version)
        for targets in past
        for delegation in targets.delegations
        if delegation.name == role
    ]


def _past(targets: Targets, hash_: bytes, authority: Authority, said_by: int) -> Past:
    valid = valid_keys(targets.envelope, authority)
    if len(valid) < authority.threshold:
        raise ThresholdNotMet(
            f"Statement {targets.version} of the log has {len(valid)} of {authority.threshold} signatures by"
            " those who could sign it then."
        )
    signers = tuple(signer for signer in authority.signers.values() if signer.public in valid)
    return Past(targets.version, hash_, targets, signers, authority.threshold, said_by)


def _envelope(role: str, raw: bytes) -> Envelope:
    return Envelope.parse(TARGETS, raw, name=role)


def _payload(hash_: bytes, leaf: Fetch) -> bytes | None:
    data = leaf(hash_)
    if data is None:
        return None
    if leaf_hash(data[1:]) != hash_ or not data.startswith(LEAF) or len(data) > MAX_BYTES["targets"]:
        raise DigestMismatch("A leaf of the log is not the one that was signed for.")
    return data[1:]


def _signed(
    blobs: list[bytes | None], current: Envelope, role: str
) -> Iterator[tuple[bytes | None, dict[str, bytes]]]:
    """Each payload with its signatures, which the next one holds. One whose next is not at hand is left
    out."""
    for payload, following in pairwise([*blobs, None]):
        if payload is current.payload:
            yield payload, dict(current.signatures)
        elif payload is None or following is None:
            yield None, {}
        else:
            yield payload, _signatures_before(following, role)


def _signatures_before(payload: bytes, role: str) -> dict[str, bytes]:
    head = statement_of(_envelope(role, seal(payload, {}))).head
    return dict(head.signatures) if head else {}
