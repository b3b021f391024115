"""A draft: what signers are asked to sign, and how their signatures become signed metadata.

A signature is made over the draft's payload and nothing else, so signers may sit anywhere, offline, in any
order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pearrt.codec import canonical
from pearrt.crypto import ed25519
from pearrt.errors import BadSignature, ThresholdNotMet
from pearrt.trust.envelope import MAX_SIGNATURES, seal
from pearrt.trust.metadata import SPEC_VERSION, Authority, Signer, key_id
from pearrt.trust.shape import time_text

NEVER = 253402300799.0  # 9999-12-31T23:59:59Z, the last second that metadata can name


@dataclass(frozen=True, slots=True)
class Signature:
    """64 bytes of Ed25519 by a public key of 32."""

    public: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Draft:
    """`payload` is canonical. Each authority must reach its threshold; a later root has two, old and new."""

    role: str
    version: int
    payload: bytes
    authorities: tuple[Authority, ...]

    @property
    def signers(self) -> tuple[Signer, ...]:
        """All who may sign, each once."""
        found = {
            keyid: signer for authority in self.authorities for keyid, signer in authority.signers.items()
        }
        return tuple(found.values())


def sign(draft: Draft, seed: bytes) -> Signature:
    """One signer's signature, by the seed of `keyfile.unlock`. Raises BadSignature for a stranger's key."""
    public = ed25519.public_key(seed)
    if all(signer.public != public for signer in draft.signers):
        raise BadSignature(
            f"This key is none of those that may sign {draft.role} {draft.version}.",
            hint="Signers: " + ", ".join(display_name(signer) for signer in draft.signers),
        )
    return Signature(public, ed25519.sign(seed, draft.payload))


def combine(draft: Draft, signatures: Iterable[Signature]) -> bytes:
    """The signed blob. Raises BadSignature for a false one, ThresholdNotMet with the names of the missing."""
    known = {signer.public for signer in draft.signers}
    valid: dict[bytes, bytes] = {}
    for signature in signatures:
        if signature.public not in known:
            raise BadSignature(f"A key that may not sign {draft.role} {draft.version} signed it.")
        if not ed25519.verify(signature.public, draft.payload, signature.value):
            name = next(display_name(signer) for signer in draft.signers if signer.public == signature.public)
            raise BadSignature(f"The signature by {name} is not one of {draft.role} {draft.version}.")
        valid[signature.public] = signature.value
    for authority in draft.authorities:
        _check_met(draft, authority, valid)
    kept = set(list(valid)[:MAX_SIGNATURES])
    if len(valid) > MAX_SIGNATURES:  # more than metadata may carry: no more of each generation than it needs
        kept = {public for authority in draft.authorities for public in _needed(authority, valid)}
    return seal(draft.payload, {key_id(public): valid[public] for public in kept})


def display_name(signer: Signer) -> str:
    return signer.name or signer.keyid[:8]


def payload(role: str, app_id: str, version: int, expires: float, **fields: Any) -> bytes:
    """The canonical `signed` part of a role; `x_pearrt_…` keywords stand for `x-pearrt-…` fields."""
    named = {
        name.replace("_", "-") if name.startswith("x_") else name: value for name, value in fields.items()
    }
    return canonical.encode(
        {
            "_type": role,
            "spec_version": SPEC_VERSION,
            "version": version,
            "expires": time_text(expires),
            "x-pearrt-app": app_id,
            **named,
        }
    )


def _needed(authority: Authority, valid: dict[bytes, bytes]) -> list[bytes]:
    return [signer.public for signer in authority.signers.values() if signer.public in valid][
        : authority.threshold
    ]


def _check_met(draft: Draft, authority: Authority, valid: dict[bytes, bytes]) -> None:
    missing: Sequence[Signer] = [
        signer for signer in authority.signers.values() if signer.public not in valid
    ]
    have = len(authority.signers) - len(missing)
    if have < authority.threshold:
        names = ", ".join(display_name(signer) for signer in missing)
        raise ThresholdNotMet(
            f"{draft.role.capitalize()} {draft.version} has {have} of {authority.threshold} signatures.",
            hint=f"{authority.threshold - have} more of these must sign: {names}.",
        )
