"""How two peers show each other which apps they are here for without telling who does not know.

Both values are bound to the handshake hash, hence to this connection: a proof shown to one peer is worthless
towards another, and the role letter keeps it from being echoed. A topic is 32 bytes (`pearrt.link.topic_of`).
"""

from __future__ import annotations

from pearrt.crypto.hashes import hmac_sha256

INITIATOR, RESPONDER = b"i", b"r"


def join_proof(topic: bytes, handshake_hash: bytes, *, by_initiator: bool) -> bytes:
    """32 bytes, sent in JOIN by the named side: HMAC(topic, "join" + role letter + handshake hash)."""
    return hmac_sha256(topic, b"join" + (INITIATOR if by_initiator else RESPONDER) + handshake_hash)


def channel_of(topic: bytes, handshake_hash: bytes) -> int:
    """The u32 that stands for the topic on this connection, the same for both sides."""
    return int.from_bytes(hmac_sha256(topic, b"channel" + handshake_hash)[:4])
