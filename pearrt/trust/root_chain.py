"""The chain of roots (TUF 1.0.34, section 5.3): each is signed by a threshold of the one before and of its own keys."""

from __future__ import annotations

from collections.abc import Sequence

from pearrt.crypto.hashes import tagged
from pearrt.errors import DigestMismatch, Equivocation, LimitExceeded, TrustError
from pearrt.trust import threshold
from pearrt.trust.envelope import Envelope
from pearrt.trust.metadata import Root
from pearrt.trust.metadata_set import MAX_ROOT_STEPS


def app_key_of(root_payload: bytes) -> bytes:
    """The app key: SHA-256("pearrt-app-v1" NUL canonical `signed` of root 1), which no later signer can change."""
    return tagged("pearrt-app-v1", root_payload)


def first_root(app_key: bytes, raw: bytes) -> Root:
    """Root 1 of the app that the key names. Raises DigestMismatch for any other root."""
    envelope = Envelope.parse("root", raw)
    if app_key_of(envelope.payload) != app_key:
        raise DigestMismatch(
            "This metadata belongs to another link: its first root is not the one that the key names."
        )
    root = Root.parse(raw)
    if root.version != 1:
        raise TrustError(f"The first root has version {root.version} instead of 1.")
    threshold.check(root.envelope, root.authorities["root"])
    return root


def extend(known: Sequence[bytes], newest: Root, offered: Sequence[bytes]) -> tuple[tuple[bytes, ...], Root]:
    """The chain `known` (root 1 on, ending in `newest`) with the new ones among `offered`, and its last root.

    `offered` are consecutive versions that begin at most one above `newest`; known ones are compared.
    Raises Equivocation for a known version with other, rightly signed content, TrustError for gaps.
    """
    if len(offered) > MAX_ROOT_STEPS + 1:
        raise LimitExceeded(f"{len(offered)} roots at once, at most {MAX_ROOT_STEPS} steps are allowed")
    chain = list(known)
    expected = None
    for raw in offered:
        root = Root.parse(raw)
        if root.version > newest.version + 1 or expected not in (None, root.version):
            raise TrustError(
                f"The roots are no chain: version {expected or newest.version + 1} is due, got {root.version}."
            )
        expected = root.version + 1
        if root.version <= newest.version:
            _compare(chain, root)
            continue
        if root.version > MAX_ROOT_STEPS + 1:
            raise LimitExceeded(f"more than {MAX_ROOT_STEPS} changes of the root")
        check_step(newest, root)
        chain.append(raw)
        newest = root
    return tuple(chain), newest


def check_step(old: Root, new: Root) -> None:
    """Raises TrustError unless `new` may follow `old`."""
    if new.version != old.version + 1:
        raise TrustError(f"Root {new.version} cannot follow root {old.version}.")
    if new.app_id != old.app_id:
        raise TrustError("The root metadata belongs to another app.")
    threshold.check(new.envelope, old.authorities["root"], "the signers so far")
    threshold.check(new.envelope, new.authorities["root"], "the new signers")


def _compare(chain: Sequence[bytes], root: Root) -> None:
    """Nothing where the chain has the same root; else Equivocation, or the reason why `root` is no valid root."""
    known = chain[root.version - 1]
    if Envelope.parse("root", known).payload == root.envelope.payload:
        threshold.check(root.envelope, root.authorities["root"])
        return
    if root.version > 1:
        check_step(Root.parse(chain[root.version - 2]), root)
    else:
        raise DigestMismatch("The offered first root is not the one that the app's key names.")
    raise Equivocation(
        f"The signers signed two different roots of version {root.version}.",
        first=known,
        second=root.envelope.raw,
    )
