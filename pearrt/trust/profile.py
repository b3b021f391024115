"""How much is demanded of metadata: all of this product's profile, or what The Update Framework itself asks.

The product knows one profile, PEARRT, and it is the default everywhere. PLAIN lets the same verifier read
the repositories of anyone, which have neither `x-pearrt-` fields nor this profile's limits on what may be
said: it is there to be held against the framework's own conformance tests, and nothing in the product names
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """`strict`: every demand of docs/protocol/trust.md. `max_bytes`: of one blob, by role."""

    strict: bool
    max_bytes: Mapping[str, int]


PEARRT = Profile(
    strict=True,
    max_bytes={"root": 64 * 1024, "timestamp": 4096, "snapshot": 16 * 1024, "targets": 256 * 1024},
)
PLAIN = Profile(
    strict=False,
    max_bytes={"root": 512_000, "timestamp": 16_384, "snapshot": 2_000_000, "targets": 5_000_000},
)
