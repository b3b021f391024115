"""How proofs of contradicting statements spread: told once to every peer, by whoever verified one. Sans-I/O.

Rules:
- Only what the app itself has verified and kept is told, one proof per app, once per peer and connection.
- A peer that tells one which does not hold is dropped. One that can't be judged here (other keys) is ignored.
- Told proofs cost signatures to check: a peer may cause BURST at once and one in EVERY_S.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from enum import Enum
from typing import Generic, TypeVar

from pearrt.errors import RemoteError, ThresholdNotMet, TrustError
from pearrt.swarm.allowance import Allowance

P = TypeVar("P", bound=Hashable)

BURST = 2
EVERY_S = 300.0


class Heard(Enum):
    """What a told proof turned out to be."""

    NEW = "new"  # verified and kept: others are told
    KNOWN = "known"  # there is a proof already, or it can't be judged here
    FALSE = "false"
    FLOOD = "flood"


class Proofs(Generic[P]):
    """One app's. `ours` gives the proof that is kept here; `consider` verifies one and keeps it if it is the
    first."""

    def __init__(self, ours: Callable[[], bytes | None], consider: Callable[[bytes], bool]) -> None:
        self._ours = ours
        self._consider = consider
        self._peers: dict[P, Allowance] = {}
        self._told: set[P] = set()

    def joined(self, peer: P, now: float) -> bytes | None:
        """What to tell a new peer."""
        self._peers[peer] = Allowance(burst=BURST, per_s=1 / EVERY_S, now=now)
        return self._tell(peer)

    def left(self, peer: P) -> None:
        self._peers.pop(peer, None)
        self._told.discard(peer)

    def heard(self, peer: P, raw: bytes, now: float) -> Heard:
        """A peer told a proof."""
        allowance = self._peers.get(peer)
        if allowance is None:
            return Heard.KNOWN
        if not allowance.take(now):
            return Heard.FLOOD
        self._told.add(peer)  # it warns already: no need to tell it ours
        if self._ours() is not None:
            return Heard.KNOWN
        try:
            return Heard.NEW if self._consider(raw) else Heard.KNOWN
        except ThresholdNotMet:
            return Heard.KNOWN
        except (TrustError, RemoteError):
            return Heard.FALSE

    def to_tell(self) -> list[tuple[P, bytes]]:
        """The peers that were not told yet, with the proof."""
        told = [(peer, self._tell(peer)) for peer in self._peers]
        return [(peer, proof) for peer, proof in told if proof is not None]

    def _tell(self, peer: P) -> bytes | None:
        proof = self._ours()
        if proof is None or peer in self._told:
            return None
        self._told.add(peer)
        return proof
