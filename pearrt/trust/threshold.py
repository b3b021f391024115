"""Thresholds: enough distinct keys of a role signed these bytes (TUF 1.0.34, 5.3.4, 5.4.2, 5.5.3, 5.6.3).

Keys are counted, never ids or signatures. Signatures by keys that the role doesn't name are ignored, as TUF
asks: a root is signed by the keys of two generations.
"""

from __future__ import annotations

from pearrt.crypto import ed25519
from pearrt.errors import BadSignature, ThresholdNotMet
from pearrt.trust.authority import Authority
from pearrt.trust.envelope import Envelope


def valid_keys(envelope: Envelope, authority: Authority) -> set[bytes]:
    """The public keys of `authority` whose signature of the envelope's payload is there and valid."""
    return {
        signer.public
        for keyid, signer in authority.signers.items()
        if keyid in envelope.signatures
        and ed25519.verify(signer.public, envelope.payload, envelope.signatures[keyid])
    }


def valid_signatures(envelope: Envelope, authority: Authority) -> dict[str, bytes]:
    """The valid signatures by signers of `authority`, by key id."""
    valid = valid_keys(envelope, authority)
    return {
        keyid: envelope.signatures[keyid]
        for keyid, signer in authority.signers.items()
        if signer.public in valid
    }


def is_met(envelope: Envelope, authority: Authority) -> bool:
    return len(valid_keys(envelope, authority)) >= authority.threshold


def check_threshold(envelope: Envelope, authority: Authority, whose: str = "") -> None:
    """Raises where the threshold is missed: BadSignature if a signature is false, else ThresholdNotMet.

    `whose` says in the message which keys were asked for.
    """
    valid = len(valid_keys(envelope, authority))
    if valid >= authority.threshold:
        return
    counted = f"{valid} of {authority.threshold} needed signatures{' by ' + whose if whose else ''}"
    if sum(keyid in envelope.signatures for keyid in authority.signers) > valid:
        raise BadSignature(f"The {envelope.name} metadata was altered or forged: {counted} verify.")
    raise ThresholdNotMet(f"The {envelope.name} metadata has {counted}.")
