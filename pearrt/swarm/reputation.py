"""Bad peers, remembered: by peer id, and by address where one address keeps sending bad ids.

An offence adds its weight to the peer's score; BAN_SCORE bans the id for BAN_S, doubled with each ban up to
MAX_BAN_S. An address is banned only after ADDRESS_BANS different ids were banned from it, because many honest
people share one address. Scores fade; the tables are bounded, the oldest entries go first. Times are
wall-clock seconds, so that bans outlive a restart (`encode`, `decode`).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum

from pearrt.codec import bencode
from pearrt.errors import RemoteError

BAN_SCORE = 100
BAN_S = 3600.0
MAX_BAN_S = 7 * 24 * 3600.0
FADE_PER_S = 100 / 3600.0
ADDRESS_BANS = 3
MAX_PEERS = 2000
MAX_HOSTS = 1000
MAX_FILE_BYTES = 1 << 20


class Offence(Enum):
    """What a peer did, with its weight in `weight`."""

    BAD_BLOCK = "sent a block with a wrong digest"
    VIOLATION = "broke the protocol"
    LIES = "announced blocks that it lacks"
    UNASKED = "sends blocks nobody asked for"
    USELESS = "delivers nothing"
    FLOOD = "asks or tells too much"
    BAD_TIMESTAMP = "told a timestamp that does not verify"
    FALSE_PROOF = "told a proof that proves nothing"

    @property
    def weight(self) -> int:
        return _WEIGHTS[self]


_WEIGHTS = {
    Offence.BAD_BLOCK: 100,
    Offence.VIOLATION: 50,
    Offence.LIES: 50,
    Offence.UNASKED: 50,
    Offence.USELESS: 34,
    Offence.FLOOD: 34,
    Offence.BAD_TIMESTAMP: 20,
    Offence.FALSE_PROOF: 50,
}


@dataclass(slots=True)
class _Record:
    score: float
    at: float
    banned_until: float = 0.0
    bans: int = 0


class Reputation:
    """Scores and bans."""

    def __init__(self) -> None:
        self._peers: OrderedDict[bytes, _Record] = OrderedDict()
        self._hosts: OrderedDict[str, _Record] = OrderedDict()

    def offend(self, peer_id: bytes, host: str, offence: Offence, now: float) -> bool:
        """Notes an offence; says whether the peer is banned now."""
        record = self._record(peer_id, now)
        record.score = max(0.0, record.score - (now - record.at) * FADE_PER_S) + offence.weight
        record.at = now
        if record.score < BAN_SCORE:
            return False
        record.score = 0.0
        record.banned_until = now + min(BAN_S * 2**record.bans, MAX_BAN_S)
        record.bans += 1
        if record.bans == 1:
            self._offend_host(host, now)
        return True

    def banned(self, peer_id: bytes | None, host: str, now: float) -> bool:
        """Whether this peer, or everybody at this address, is banned."""
        record = self._peers.get(peer_id) if peer_id is not None else None
        at_host = self._hosts.get(host)
        return (record is not None and record.banned_until > now) or (
            at_host is not None and at_host.banned_until > now
        )

    def _record(self, peer_id: bytes, now: float) -> _Record:
        record = self._peers.get(peer_id)
        if record is None:
            record = self._peers[peer_id] = _Record(0.0, now)
            if len(self._peers) > MAX_PEERS:
                self._peers.popitem(last=False)
        else:
            self._peers.move_to_end(peer_id)
        return record

    def _offend_host(self, host: str, now: float) -> None:
        record = self._hosts.setdefault(host, _Record(0.0, now))
        self._hosts.move_to_end(host)
        record.bans += 1
        if record.bans >= ADDRESS_BANS:
            record.banned_until = now + BAN_S
        if len(self._hosts) > MAX_HOSTS:
            self._hosts.popitem(last=False)

    def encode(self, now: float) -> bytes:
        """The bans still in force, for the disk."""
        return bencode.encode(
            {
                "hosts": [
                    [h, int(r.banned_until), r.bans] for h, r in self._hosts.items() if r.banned_until > now
                ],
                "peers": [
                    [p, int(r.banned_until), r.bans] for p, r in self._peers.items() if r.banned_until > now
                ],
            }
        )

    @classmethod
    def decode(cls, data: bytes, now: float) -> Reputation:
        """What `encode` wrote; a damaged file counts as an empty one, for it is only a memory aid."""
        result = cls()
        if len(data) > MAX_FILE_BYTES:
            return result
        try:
            fields = bencode.decode(data, max_depth=4)
            for peer_id, until, bans in fields[b"peers"][-MAX_PEERS:]:
                result._peers[bytes(peer_id)] = _Record(0.0, now, _ban_end(until, now), _small(bans))
            for host, until, bans in fields[b"hosts"][-MAX_HOSTS:]:
                result._hosts[host.decode()] = _Record(0.0, now, _ban_end(until, now), _small(bans))
        except (RemoteError, KeyError, TypeError, ValueError, AttributeError):
            return cls()
        return result


def _ban_end(value: int, now: float) -> float:
    return float(min(int(value), now + MAX_BAN_S))


def _small(value: int) -> int:
    return max(0, min(int(value), 16))
