"""What a thief of the heartbeat key does: signs the highest timestamp that there can be."""

from __future__ import annotations

from dataclasses import replace

from pearrt.crypto import ed25519
from pearrt.publish.draft import NEVER, payload
from pearrt.publish.heartbeat import Heartbeat
from pearrt.trust.app import TrustedApp
from pearrt.trust.envelope import seal
from pearrt.trust.metadata_set import MetadataSet
from pearrt.trust.shape import time_text

HIGHEST = 2**53 - 1


def run_forward(heartbeat: Heartbeat, trusted: TrustedApp, now: float) -> MetadataSet:
    """The metadata that `trusted` holds under a timestamp after which no other one can come."""
    signed = payload(
        "timestamp",
        trusted.root.app_id,
        HIGHEST,
        NEVER,
        meta=trusted.timestamp.envelope.signed["meta"],
        x_pearrt_signed=time_text(now),
        x_pearrt_period=86_400,
        x_pearrt_root=trusted.root.version,
    )
    keyid = heartbeat.keyid
    timestamp = seal(signed, {keyid: ed25519.sign(heartbeat.seed, signed)})
    return replace(trusted.metadata, timestamp=timestamp)
