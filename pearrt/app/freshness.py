"""How current an app is, and who says so: what peers show, what lies in the DHT, what is known but withheld.

- A *confirmation* is the trusted timestamp, shown by somebody without our having told it. Sources are counted
  by place: many addresses of one network are one voice.
- The publisher's seeder puts its timestamp into the DHT (BEP 44): signed by the heartbeat key that the root
  names, under a salt that only who knows the topic computes. Readers look there when no peer confirmed the
  app for a while. What they find is a stranger's word until it is verified like any other timestamp.
- A verified newer timestamp whose metadata nobody gives means stale: somebody knows more than our peers say.

Staleness informs. It never stops what is installed, and time never moves back (`trust/app.py`).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from pearrt.crypto.hashes import sha256, tagged
from pearrt.errors import DigestMismatch, PearrtError, RemoteError, StoreError, TrustError
from pearrt.trust.app import TrustedApp, Verdict
from pearrt.trust.freshness import FreshnessState

if TYPE_CHECKING:
    from pearrt.app.followed import FollowedApp
    from pearrt.dht.items import MutableItem
    from pearrt.dht.service import PutResult

MAX_SOURCES = 64
LOOK_EVERY_S = 1800.0
LOOK_SOON_S = 60.0  # when the app is started or asked about, and no peer confirmed it
FIRST_LOOK_S = 120.0  # peers have that long to confirm it after the daemon's start
GRACE_S = 60.0  # a newer timestamp is usually followed by its metadata at once
MAX_HINT_BYTES = 990  # BEP 44 allows 1000 with the encoding
SALT_BYTES = 20
DHT = "dht item"

log = logging.getLogger(__name__)


class Items(Protocol):
    """What is needed of the DHT: `DhtService` has it."""

    async def put_mutable(
        self, seed: bytes, value: bytes, *, salt: bytes = b"", seq: int | None = None
    ) -> PutResult: ...
    async def get_mutable(self, public_key: bytes, *, salt: bytes = b"") -> MutableItem | None: ...


@dataclass(slots=True)
class Confirmations:
    """Who showed the timestamp with this digest: source -> how it was found. `at`: Unix time of the last."""

    timestamp: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    at: int = 0

    def add(self, timestamp: bytes, source: str, origin: str, now: float) -> bool:
        """`source` shows the trusted timestamp; whether that is news. Those of an older one are forgotten."""
        digest = sha256(timestamp).hex()
        if digest != self.timestamp:
            self.timestamp, self.sources = digest, {}
        self.at = int(now)
        if source in self.sources or len(self.sources) >= MAX_SOURCES:
            return False
        self.sources[source] = origin
        return True

    def of(self, timestamp: bytes | None) -> Mapping[str, str]:
        """The sources, if they speak of this timestamp."""
        return self.sources if timestamp is not None and sha256(timestamp).hex() == self.timestamp else {}

    def dump(self) -> bytes:
        return json.dumps({"timestamp": self.timestamp, "sources": self.sources, "at": self.at}).encode()

    @classmethod
    def load(cls, data: bytes | None) -> Confirmations:
        """What `dump` wrote; nothing where that is damaged: it only informs."""
        try:
            fields = json.loads(data or b"{}")
            sources = {str(source): str(origin) for source, origin in dict(fields["sources"]).items()}
            return cls(str(fields["timestamp"]), sources, int(fields["at"]))
        except (ValueError, TypeError, KeyError):
            return cls()


@dataclass(frozen=True, slots=True)
class Newer:
    """A verified timestamp above the trusted one: its version, when it was signed, when it was heard of."""

    version: int
    signed_at: float
    heard_at: float


def standing(app: FollowedApp, trusted: TrustedApp, now: float) -> dict[str, Any]:
    """Fresh, stale or unknown, when the publisher last confirmed it (Unix seconds), and who showed that:
    `confirmed_by` counts peers of different networks, `in_dht` is the DHT's item; `contradiction`: what its
    keys were misused for."""
    found = trusted.freshness(now, app.link.channel)
    sources = app.confirmations.of(trusted.metadata.timestamp)
    newer = app.newer if app.newer and app.newer.version > trusted.timestamp.version else None
    withheld = newer is not None and now - newer.heard_at > GRACE_S
    return {
        "freshness": FreshnessState.STALE.value if withheld else found.state.value,
        "confirmed_at": int(found.confirmed_at),
        "confirmed_by": sum(origin != DHT for origin in sources.values()),
        "in_dht": DHT in sources.values(),
        "newer_at": int(newer.signed_at) if newer and withheld else None,
        "contradiction": _contradiction(app),
    }


def _contradiction(app: FollowedApp) -> str:
    """What the kept proof shows that the app's keys were misused for; "" where there is none."""
    try:
        proof = app.folder.equivocation
    except StoreError:
        return "the proof on this machine is damaged"
    return proof.describe() if proof else ""


# -- the timestamp in the DHT


def salt_of(topic: bytes) -> bytes:
    """Under which salt an app's timestamp lies in the DHT: nobody can tell from it which app that is."""
    return tagged("pearrt-dht-timestamp-v1", topic)[:SALT_BYTES]


async def put_hint(app: FollowedApp, dht: Items, heartbeat_seed: bytes) -> int:
    """Stores the trusted timestamp of an app that is published from here; by how many nodes it was taken."""
    trusted = app.trusted
    if trusted is None:
        return 0
    raw = trusted.metadata.timestamp
    if len(raw) > MAX_HINT_BYTES:
        log.warning("the timestamp has %d bytes, too many for a DHT item", len(raw))
        return 0
    done = await dht.put_mutable(heartbeat_seed, raw, salt=salt_of(app.topic), seq=trusted.timestamp.version)
    return done.stored


async def look_for_hint(app: FollowedApp, dht: Items, now: float) -> Verdict | None:
    """Reads what the heartbeat keys of the trusted root put into the DHT and takes it for what it is worth.

    None where nothing is there or nothing that verifies.
    """
    if app.trusted is None:
        return None
    verdict = None
    for signer in app.trusted.root.authorities["timestamp"].signers.values():
        item = await dht.get_mutable(signer.public, salt=salt_of(app.topic))
        if item is not None:
            verdict = take_hint(app, item.value, now)
    return verdict


def take_hint(app: FollowedApp, raw: bytes, now: float) -> Verdict | None:
    """A timestamp from a place that anyone could write to. Adopted where nothing but the timestamp is new; a
    newer one whose metadata is not at hand is remembered; None for one that does not verify."""
    trusted = app.trusted
    if trusted is None:
        return None
    try:
        verdict = app.verdict_on(raw)
        if verdict is Verdict.NEWER:
            try:
                app.trust(trusted.update(replace(trusted.metadata, roots=(), timestamp=raw), now))
                verdict = Verdict.SAME
                app.members.timestamp_changed()
            except DigestMismatch:
                app.heard_of(raw, now)
        if verdict is Verdict.SAME:
            app.confirm(DHT, DHT)
    except (TrustError, RemoteError) as e:
        log.info("a timestamp from the DHT: %s", e)
        return None
    return verdict


def look_is_due(app: FollowedApp, now: float, every_s: float = LOOK_EVERY_S) -> bool:
    """Whether the DHT is to be asked: nobody confirmed the app, and it was not asked, for that long."""
    if app.trusted is None or app.published:
        return False
    confirmed = app.confirmations.at if app.confirmations.of(app.trusted.metadata.timestamp) else 0
    return now - max(confirmed, app.looked_at) >= every_s or now < app.looked_at


async def look(app: FollowedApp, dht: Items) -> Verdict | None:
    """`look_for_hint`, noted; never raises."""
    app.looked_at = now = time.time()
    try:
        return await look_for_hint(app, dht, now)
    except PearrtError as e:
        log.info("looking for a timestamp in the DHT: %s", e)
        return None
