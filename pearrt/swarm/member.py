"""A peer of one app, and what it may still do."""

from __future__ import annotations

from pearrt.swarm.allowance import Allowance
from pearrt.swarm.claims import UnknownClaims
from pearrt.swarm.scope import Address


class Member:
    """A peer of this app. `listen` is where others can reach it, as far as known; `origin` how it was found.

    Allowances: `strays` are blocks that no download expects, `questions` GET_METADATA, `surplus` what is
    refused or no news, `shows` BITFIELD and HAVE_ALL. `asks` are our own GET_METADATA, fewer than a peer's
    `questions`, so that many starts of an app are no flood to anybody.
    """

    __slots__ = (
        "asks",
        "bytes_from",
        "bytes_to",
        "channel",
        "claims",
        "exchanged_at",
        "host",
        "listen",
        "metadata_asked",
        "near",
        "origin",
        "peer_id",
        "questions",
        "shows",
        "strays",
        "surplus",
    )

    def __init__(
        self,
        *,
        peer_id: bytes,
        channel: int,
        host: str,
        listen: Address | None,
        near: bool,
        now: float,
        origin: str = "",
    ) -> None:
        self.peer_id = peer_id
        self.channel = channel
        self.host = host
        self.listen = listen
        self.near = near
        self.origin = origin
        self.claims = UnknownClaims()
        self.metadata_asked = 0
        self.exchanged_at = float("-inf")
        self.bytes_from = 0
        self.bytes_to = 0
        self.strays = Allowance(burst=64, per_s=1, now=now)
        self.questions = Allowance(burst=16, per_s=0.5, now=now)
        self.asks = Allowance(burst=12, per_s=0.4, now=now)
        self.surplus = Allowance(burst=1024, per_s=16, now=now)
        self.shows = Allowance(burst=64, per_s=0.5, now=now)
