"""What one signed role must be beside another: named, not older, not in conflict (TUF 1.0.34, 5.4 to 5.6)."""

from __future__ import annotations

from collections.abc import Mapping

from pearrt.crypto.hashes import sha256
from pearrt.errors import DigestMismatch, Equivocation, Expired, Rollback, TrustError
from pearrt.trust.metadata import Meta, Signed
from pearrt.trust.shape import time_text


def check_blob(name: str, raw: bytes, named: Meta) -> None:
    """The bytes are those that the role above names, as far as it says more than their version."""
    if (named.length is not None and len(raw) != named.length) or (
        named.digest is not None and sha256(raw) != named.digest
    ):
        raise DigestMismatch(f"The {name} metadata is not the one that was signed for.")


def check_named(role: Signed, named: Meta) -> None:
    """The version is the one that the role above names."""
    if role.version != named.version:
        raise TrustError(
            f"The {role.envelope.name} metadata has version {role.version}, not {named.version}."
        )


def check_not_older(trusted: Signed, offered: Signed) -> None:
    """Raises Rollback for a lower version, Equivocation for the same with other content."""
    name = trusted.envelope.name
    if offered.version < trusted.version:
        raise Rollback(
            f"The offered {name} metadata has version {offered.version}, {trusted.version} is trusted."
        )
    if offered.version == trusted.version:
        check_same(trusted, offered)


def check_same(trusted: Signed, offered: Signed) -> None:
    """Two of one version say the same. Raises Equivocation with both."""
    if offered.envelope.payload != trusted.envelope.payload:
        raise Equivocation(
            f"Two different {trusted.envelope.name} metadata of version {trusted.version} were signed.",
            first=trusted.envelope.raw,
            second=offered.envelope.raw,
        )


def check_version(name: str, trusted: Meta, offered: Meta) -> None:
    """What is said of a blob's version does not fall."""
    if offered.version < trusted.version:
        raise Rollback(f"The offered metadata names {name} {offered.version}, {trusted.version} is trusted.")


def check_files(trusted: Mapping[str, Meta], offered: Mapping[str, Meta]) -> None:
    """No file leaves a snapshot, and none gets a lower version (5.5.5)."""
    for file, meta in trusted.items():
        name = file.removesuffix(".json")
        if file not in offered:
            raise Rollback(f"The offered snapshot metadata no longer names {name}.")
        check_version(name, meta, offered[file])


def check_unexpired(role: Signed, now: float) -> None:
    """Raises Expired from the moment on that the role itself names."""
    if now >= role.expires:
        raise Expired(f"The {role.envelope.name} metadata expired at {time_text(role.expires)}.")
