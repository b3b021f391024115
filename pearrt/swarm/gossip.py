"""How news of a release spreads: signed timestamp metadata, told by whoever trusts a newer one.

Rules:
- Only what the app itself trusts is ever told. A newer timestamp that a peer tells is first a reason to fetch
  the metadata behind it (`News.NEWER`); once that verified, the app calls `ours_changed` and all peers are
  told.
- A newer one goes at once to every peer that is not known to have it; an older one is answered with ours,
  once.
- What was judged before is not judged again (bounded memory), and a peer may cause few judgements per second.
  A newer one that was not adopted (its teller did not give the metadata) is news again after RETRY_S, or at
  once from another peer.
- A peer that withholds the newest cannot hide it: any other peer tells it on joining and whenever it learns
  it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from enum import Enum
from typing import Generic, TypeVar

from pearrt.crypto.hashes import sha256
from pearrt.errors import Equivocation, Expired, Rollback, TrustError
from pearrt.swarm.allowance import Allowance

P = TypeVar("P", bound=Hashable)

BURST = 8
PER_S = 1.0
MAX_JUDGED = 256
MAX_TOLD = 16
RETRY_S = 15.0


class News(Enum):
    """What a timestamp told by a peer turned out to be."""

    NEWER = "newer"  # worth fetching the metadata behind it, best from this peer
    SAME = "same"
    OLDER = "older"  # the peer is behind: it gets ours
    REFUSED = "refused"  # does not verify
    IGNORED = "ignored"  # too often, or nothing that a peer could be blamed for


class _Partner:
    __slots__ = ("allowance", "newer", "newer_at", "shown", "told")

    def __init__(self, now: float) -> None:
        self.allowance = Allowance(burst=BURST, per_s=PER_S, now=now)
        self.told: set[bytes] = set()  # digests of what it knows
        self.shown: bytes | None = None  # digest of what it told last
        self.newer: bytes | None = None  # digest of what it told and we have not adopted
        self.newer_at = 0.0


class Gossip(Generic[P]):
    """One app's gossip. Peers are any hashable; the caller sends `newest` to those that `to_tell` names."""

    def __init__(self, ours: bytes | None, consider: Callable[[bytes], bool]) -> None:
        self.newest = ours
        self._consider = consider
        self._partners: dict[P, _Partner] = {}
        self._judged: OrderedDict[bytes, News] = OrderedDict()

    def joined(self, peer: P, now: float) -> bytes | None:
        """What to tell a new peer."""
        partner = self._partners[peer] = _Partner(now)
        return self._tell(partner)

    def left(self, peer: P) -> None:
        self._partners.pop(peer, None)

    def heard(self, peer: P, raw: bytes, now: float) -> News:
        """A peer told its timestamp. Raises RemoteError where the app finds it malformed."""
        partner = self._partners.get(peer)
        if partner is None or not partner.allowance.take(now):
            return News.IGNORED
        digest = sha256(raw)
        _note(partner, digest)
        partner.shown = digest
        if raw == self.newest:
            return News.SAME
        news = self._judged.get(digest) or self._judge(raw)
        self._remember(digest, news)
        if news is News.NEWER:
            if partner.newer == digest and now - partner.newer_at < RETRY_S:
                return News.IGNORED
            partner.newer, partner.newer_at = digest, now
        return news

    def knows_newer(self, peer: P) -> bool:
        """Whether the peer told of something newer than what is trusted here: the one to ask for metadata."""
        partner = self._partners.get(peer)
        return partner is not None and partner.newer is not None

    def confirmers(self) -> list[P]:
        """The peers whose own last word is what is trusted here; not those that only heard it from us."""
        newest = sha256(self.newest) if self.newest is not None else None
        return [peer for peer, partner in self._partners.items() if newest and partner.shown == newest]

    def ours_changed(self, raw: bytes) -> None:
        """The app trusts this one now: published here, or verified with its metadata."""
        if raw == self.newest:
            return
        self.newest = raw
        self._judged.clear()  # what was newer may be older now
        digest = sha256(raw)
        for partner in self._partners.values():
            if partner.newer == digest:
                partner.newer = None

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
        _note(partner, digest)
        return self.newest

    def _judge(self, raw: bytes) -> News:
        try:
            return News.NEWER if self._consider(raw) else News.OLDER
        except (Expired, Rollback):
            return News.OLDER  # an honest peer may be far behind
        except Equivocation:
            return News.IGNORED  # the publisher's fault; the app keeps the proof
        except TrustError:
            return News.REFUSED

    def _remember(self, digest: bytes, news: News) -> None:
        self._judged[digest] = news
        if len(self._judged) > MAX_JUDGED:
            self._judged.popitem(last=False)


def _note(partner: _Partner, digest: bytes) -> None:
    if len(partner.told) >= MAX_TOLD:
        partner.told.clear()
    partner.told.add(digest)
