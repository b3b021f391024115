"""What peers say they hold of bundles whose block list we don't know yet, kept in bounded space until we do.

Per peer at most MAX_DIGESTS bundles; per bundle one bit field and MAX_PENDING_ORDINALS announcements after
it. What is over the bound is forgotten, oldest first: the peer then counts as holding less than it does,
never more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from pearrt.errors import ProtocolViolation
from pearrt.swarm.bundle_state import ref_of
from pearrt.swarm.have import HaveSet

MAX_DIGESTS = 4
MAX_UNKNOWN_BITFIELD_BYTES = 1 << 16
MAX_PENDING_ORDINALS = 1 << 15


@dataclass(slots=True)
class _Claim:
    bits: bytes | None  # None: everything
    ordinals: list[int] = field(default_factory=list)


class UnknownClaims:
    """One peer's claims about bundles unknown to us."""

    def __init__(self) -> None:
        self._claims: OrderedDict[bytes, _Claim] = OrderedDict()

    @property
    def digests(self) -> list[bytes]:
        return list(self._claims)

    def holds_all(self, digest: bytes) -> None:
        self._put(digest, _Claim(None))

    def holds(self, digest: bytes, bits: bytes) -> None:
        if len(bits) <= MAX_UNKNOWN_BITFIELD_BYTES:
            self._put(digest, _Claim(bits))

    def announced(self, ref: int, ordinals: Iterable[int]) -> None:
        for digest, claim in self._claims.items():
            if ref_of(digest) == ref and claim.bits is not None:
                claim.ordinals.extend(ordinals)
                del claim.ordinals[MAX_PENDING_ORDINALS:]

    def _put(self, digest: bytes, claim: _Claim) -> None:
        self._claims.pop(digest, None)
        self._claims[digest] = claim
        if len(self._claims) > MAX_DIGESTS:
            self._claims.popitem(last=False)

    def resolve(self, digest: bytes, total: int) -> tuple[bool, HaveSet | None]:
        """Takes out (known, set) for a bundle of `total` blocks. Raises ProtocolViolation for a claim that
        can't be.
        """
        claim = self._claims.pop(digest, None)
        if claim is None:
            return False, None
        if claim.bits is None:
            return True, None
        held = HaveSet.decode(claim.bits, total)
        for ordinal in claim.ordinals:
            if ordinal >= total:
                raise ProtocolViolation(f"announced block {ordinal} of {total}")
            held.add(ordinal)
        return True, held
