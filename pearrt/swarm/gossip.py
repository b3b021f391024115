"""How news of a release spreads: signed timestamp metadata, told by whoever learns of a newer one.

Rules:
- Nothing is passed on before the app verified it: `consider` returns whether a timestamp is newer than what
  it trusts and raises TrustError for one that does not verify.
- A newer one goes at once to every peer that did not tell it to us; an older one is answered with ours, once.
- What was judged before is not judged again (bounded memory); a peer may cost us few judgements per second.
- A timestamp that does not verify may be signed by keys of a root we don't have yet: it is never forwarded,
  but it is reason to ask that peer for its metadata, now and then, and in vain it counts against the peer.
- A peer that withholds the newest cannot hide it: any other peer tells it on joining and whenever it learns
  it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from pearrt.crypto.hashes import sha256
from pearrt.errors import TrustError
from pearrt.swarm.allowance import Allowance

P = TypeVar("P", bound=Hashable)

BURST = 8
PER_S = 1.0
MAX_JUDGED = 256
UNVERIFIED_EVERY_S = 30.0


class News(Enum):
    """What a timestamp told by a peer turned out to be."""

    NEWER = "newer"  # verified: adopt, forward, fetch the rest
    SAME = "same"
    OLDER = "older"  # the peer is behind: it gets ours
    UNVERIFIED = "unverified"  # perhaps of a newer root: worth asking that peer for its metadata
    REFUSED = "refused"  # does not verify
    IGNORED = "ignored"  # too often, or judged before


@dataclass(slots=True)
class _Partner:
    allowance: Allowance
    told: set[bytes] = field(default_factory=set)  # digests of what it knows: bounded by MAX_TOLD


MAX_TOLD = 16


class Gossip(Generic[P]):
    """One app's gossip. Peers are any hashable; the caller sends what `to_tell` names."""

    def __init__(self, ours: bytes | None, consider: Callable[[bytes], bool]) -> None:
        self.newest = ours
        self._consider = consider
        self._partners: dict[P, _Partner] = {}
        self._judged: OrderedDict[bytes, News] = OrderedDict()
        self._unverified_at = float("-inf")

    def joined(self, peer: P, now: float) -> bytes | None:
        """What to tell a new peer."""
        partner = self._partners[peer] = _Partner(Allowance(burst=BURST, per_s=PER_S, now=now))
        return self._tell(partner)

    def left(self, peer: P) -> None:
        self._partners.pop(peer, None)

    def heard(self, peer: P, raw: bytes, now: float) -> News:
        """A peer told its timestamp."""
        partner = self._partners.get(peer)
        if partner is None or not partner.allowance.take(now):
            return News.IGNORED
        digest = sha256(raw)
        self._note(partner, digest)
        if raw == self.newest:
            return News.SAME
        if (known := self._judged.get(digest)) is not None:
            return News.OLDER if known is News.OLDER else News.IGNORED
        news = self._judge(raw, now)
        if news is News.NEWER:
            self._remember(sha256(self.newest) if self.newest else b"", News.OLDER)
            self.newest = raw
        elif news is not News.UNVERIFIED:
            self._remember(digest, news)
        return news

    def ours_changed(self, raw: bytes) -> None:
        """The app itself now trusts this one (published here, or learned with its metadata)."""
        if raw != self.newest:
            if self.newest is not None:
                self._remember(sha256(self.newest), News.OLDER)
            self._judged.pop(sha256(raw), None)
            self.newest = raw

    def to_tell(self) -> list[P]:
        """The peers that don't know `newest` yet; each is named once per timestamp."""
        return [peer for peer, partner in self._partners.items() if self._tell(partner) is not None]

    def answer(self, peer: P) -> bytes | None:
        """What to tell a peer that is behind: ours, unless it was told before."""
        partner = self._partners.get(peer)
        return self._tell(partner) if partner else None

    def _tell(self, partner: _Partner) -> bytes | None:
        if self.newest is None:
            return None
        digest = sha256(self.newest)
        if digest in partner.told:
            return None
        self._note(partner, digest)
        return self.newest

    def _judge(self, raw: bytes, now: float) -> News:
        try:
            return News.NEWER if self._consider(raw) else News.OLDER
        except TrustError:
            if now - self._unverified_at < UNVERIFIED_EVERY_S:
                return News.REFUSED
            self._unverified_at = now
            return News.UNVERIFIED

    def _note(self, partner: _Partner, digest: bytes) -> None:
        if len(partner.told) >= MAX_TOLD:
            partner.told.clear()
        partner.told.add(digest)

    def _remember(self, digest: bytes, news: News) -> None:
        self._judged[digest] = news
        if len(self._judged) > MAX_JUDGED:
            self._judged.popitem(last=False)
