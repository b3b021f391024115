"""DSSE: a signature over any payload together with its type (secure-systems-lab/dsse, protocol v1.0.2). Pure.

    {"payload": base64, "payloadType": text, "signatures": [{"keyid": text, "sig": base64}, …]}

What is signed is PAE(type, payload) = "DSSEv1" SP len SP type SP len SP payload, so nothing has to be
canonical. Here keys are Ed25519 and a key id is TUF's. Read within bounds; every other field is refused.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pearrt.codec import canonical
from pearrt.crypto import ed25519
from pearrt.errors import LimitExceeded, ProtocolViolation
from pearrt.trust.authority import key_id

MAX_ENVELOPE_BYTES = 64 * 1024
MAX_SIGNATURES = 16
MAX_TYPE_CHARS = 128

_KEY_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class DsseEnvelope:
    """A parsed, not yet verified envelope. Signatures of 64 bytes by key id."""

    payload_type: str
    payload: bytes
    signatures: Mapping[str, bytes]

    def verifies(self, public: bytes) -> bool:
        """Whether this key signed it."""
        signature = self.signatures.get(key_id(public))
        return signature is not None and ed25519.verify(
            public, pae(self.payload_type, self.payload), signature
        )

    def encode(self) -> bytes:
        """The JSON that `parse` reads."""
        listed = [{"keyid": key, "sig": _text(sig)} for key, sig in sorted(self.signatures.items())]
        fields = {"payload": _text(self.payload), "payloadType": self.payload_type, "signatures": listed}
        return canonical.encode(fields) + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> DsseEnvelope:
        """Raises LimitExceeded, ProtocolViolation."""
        value = canonical.parse(data, max_bytes=MAX_ENVELOPE_BYTES)
        if not isinstance(value, dict) or value.keys() != {"payload", "payloadType", "signatures"}:
            raise ProtocolViolation("a DSSE envelope must have payload, payloadType and signatures")
        kind, listed = value["payloadType"], value["signatures"]
        if not isinstance(kind, str) or not 0 < len(kind) <= MAX_TYPE_CHARS or not kind.isprintable():
            raise ProtocolViolation("a DSSE envelope without a type")
        if not isinstance(listed, list) or not listed:
            raise ProtocolViolation("a DSSE envelope without signatures")
        if len(listed) > MAX_SIGNATURES:
            raise LimitExceeded(f"a DSSE envelope with more than {MAX_SIGNATURES} signatures")
        signatures = dict(map(_signature, listed))
        if len(signatures) != len(listed):
            raise ProtocolViolation("a DSSE envelope that one key signed twice")
        return cls(kind, _bytes(value["payload"]), signatures)


def sign(seed: bytes, payload_type: str, payload: bytes) -> DsseEnvelope:
    """The envelope with the signature of one key, by its 32-byte seed."""
    signature = ed25519.sign(seed, pae(payload_type, payload))
    return DsseEnvelope(payload_type, payload, {key_id(ed25519.public_key(seed)): signature})


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding: what is signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _signature(value: Any) -> tuple[str, bytes]:
    if not isinstance(value, dict) or value.keys() != {"keyid", "sig"}:
        raise ProtocolViolation("a DSSE signature is no object of keyid and sig")
    keyid, signature = value["keyid"], _bytes(value["sig"])
    if not isinstance(keyid, str) or not _KEY_ID.fullmatch(keyid):
        raise ProtocolViolation("a DSSE signature without a key id of 64 hex digits")
    if len(signature) != ed25519.SIGNATURE_BYTES:
        raise ProtocolViolation("a DSSE signature that is not one of Ed25519")
    return keyid, signature


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error) as e:
        raise ProtocolViolation("a DSSE envelope holds something that is not base64") from e
