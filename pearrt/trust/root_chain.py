"""The chain of roots (TUF 1.0.34, 5.3): each is signed by a threshold of the one before and of its own keys.

A root is read only after the keys of the one before it, or the app key for root 1, have vouched for it. Where
the one before it names witnesses, they have to have seen the step (`witness.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pearrt.crypto.hashes import tagged
from pearrt.errors import DigestMismatch, Equivocation, LimitExceeded, TrustError
from pearrt.trust.envelope import Envelope
from pearrt.trust.merkle import leaf_hash
from pearrt.trust.metadata import Root
from pearrt.trust.metadata_set import MAX_ROOT_STEPS
from pearrt.trust.threshold import check_threshold
from pearrt.trust.witness import check_step

Chain = tuple[bytes, ...]


def app_key_of(root_payload: bytes) -> bytes:
    """SHA-256("pearrt-app-v1" NUL canonical `signed` of root 1): no later signer can change it."""
    return tagged("pearrt-app-v1", root_payload)


def first_root(app_key: bytes, raw: bytes) -> Root:
    """Root 1 of the app that the key names. Raises DigestMismatch for any other root."""
    envelope = Envelope.parse("root", raw)
    if app_key_of(envelope.payload) != app_key:
        raise DigestMismatch(
            "This metadata belongs to another link: its first root is not the one that the key names."
        )
    root = Root.read(envelope)
    if root.version != 1:
        raise TrustError(f"The first root has version {root.version} instead of 1.")
    check_threshold(envelope, root.authorities["root"])
    return root


def root_at(chain: Chain, version: int) -> Root:
    """A root of a chain that was verified before."""
    return Root.read(Envelope.parse("root", chain[version - 1]))


def root_leaves(chain: Sequence[bytes]) -> list[bytes]:
    """The leaf hashes of the log of roots, for a chain that was verified before."""
    return [leaf_hash(Envelope.parse("root", raw).payload) for raw in chain]


def extend(
    known: Chain,
    newest: Root,
    offered: Sequence[bytes],
    *,
    due: int | None = None,
    witnessed: Mapping[str, bytes] | None = None,
) -> tuple[Chain, Root]:
    """The chain `known` (root 1 on, ending in `newest`) with the new ones of `offered`, and its last root.

    `offered` are consecutive versions, from `due` on or from anywhere up to one above `newest`. Known ones
    are compared. `witnessed` are the cosignatures beside them; None asks for none.
    Raises ThresholdNotMet for a step that witnesses had to see and did not, Equivocation for a known version
    with other, rightly signed content; TrustError for gaps.
    """
    if len(offered) > MAX_ROOT_STEPS + 1:
        raise LimitExceeded(f"{len(offered)} roots at once, at most {MAX_ROOT_STEPS} steps are allowed")
    chain, leaves = list(known), list[bytes]()
    for raw in offered:
        envelope = Envelope.parse("root", raw)
        version = envelope.signed.get("version")
        if type(version) is not int or not 1 <= version <= newest.version + 1 or version != (due or version):
            raise TrustError(f"The roots are no chain: version {due or newest.version + 1} is due.")
        if version > MAX_ROOT_STEPS + 1:
            raise LimitExceeded(f"the root changed more than {MAX_ROOT_STEPS} times")
        due = version + 1
        if version <= newest.version:
            _compare(known, envelope, version)
        else:
            old, newest = newest, step(newest, envelope)
            chain.append(raw)
            if witnessed is not None:
                if old.witnesses is not None:
                    leaves = [*leaves, *root_leaves(chain[len(leaves) :])]
                key = app_key_of(Envelope.parse("root", chain[0]).payload)
                check_step(key, old, newest, leaves, witnessed)
    return tuple(chain), newest


def step(old: Root, envelope: Envelope) -> Root:
    """The root in `envelope`, whose version is one more, if it may follow `old`. Raises TrustError."""
    check_threshold(envelope, old.authorities["root"], "the signers so far")
    new = Root.read(envelope)
    if new.app_id != old.app_id:
        raise TrustError("The root metadata belongs to another app.")
    check_threshold(envelope, new.authorities["root"], "the new signers")
    return new


def _compare(known: Chain, offered: Envelope, version: int) -> None:
    """Raises nothing for the known root, Equivocation for another valid one, else why it is not valid."""
    trusted = root_at(known, version)
    if trusted.envelope.payload == offered.payload:
        check_threshold(offered, trusted.authorities["root"])
        return
    if version == 1:
        raise DigestMismatch("The offered first root is not the one that the app's key names.")
    step(root_at(known, version - 1), offered)
    raise Equivocation(
        f"The signers signed two different roots of version {version}.",
        first=trusted.envelope.raw,
        second=offered.raw,
    )
