"""Which apps a connection serves: topic proofs both ways (JOIN, LEAVE), for one link. Sans-I/O.

A proof is HMAC(topic, "join" + role + handshake hash): it says nothing to who does not know the topic, is
worthless on any other connection, and cannot be echoed. A topic is joined once both sides proved it; its
channel then stands for it. Proofs of topics that we don't serve (yet) are remembered up to MAX_UNMATCHED, in
case we join later on.

A peer whose proof comes when we have left already takes us for joined, having seen ours: it is told that we
left (`farewells`).

What we offer is bounded too, so that no app of ours can make a peer take us for one that floods it: a topic
is offered less often than the peer has to bear, later if need be (`held_back`), and of topics that come and
go (circles') MAX_PASSING on a link. Beyond those this peer is not met until there is another link to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pearrt.errors import LimitExceeded
from pearrt.peer.topic import channel_of, join_proof
from pearrt.swarm.allowance import Allowance

MAX_UNMATCHED = 1024
MAX_JOINED = 256
JOIN_BURST, JOINS_PER_S = 32, 1 / 45  # by a peer, of one topic: each makes us say what we hold
OFFER_BURST, OFFERS_PER_S = 24, 1 / 60  # by us, so that they are no more to the peer, however they bunch up
MAX_PASSING = 512  # with the apps that one machine has, well below MAX_UNMATCHED


@dataclass(frozen=True, slots=True)
class Joined:
    """Both sides proved `topic`; `channel` stands for it on this link."""

    topic: bytes
    channel: int


class LinkTopics:
    """The topics of one link."""

    def __init__(self, handshake_hash: bytes, *, initiator: bool) -> None:
        self.joined: dict[int, bytes] = {}
        self._hash = handshake_hash
        self._initiator = initiator
        self._ours: dict[bytes, bytes] = {}  # the proof that we expect from the peer -> topic
        self._unmatched: set[bytes] = set()
        self._joins: dict[bytes, Allowance] = {}
        self._offers: dict[bytes, Allowance] = {}
        self._passing: set[bytes] = set()
        self._held_back: set[bytes] = set()
        self._gone: dict[bytes, int] = {}  # the proof that we no longer expect -> its channel
        self._farewells: list[int] = []
        self._withdrawn: dict[int, bytes] = {}  # channels that we left and the peer did not -> its proof

    def offer(
        self, topics: Iterable[bytes], now: float, *, passing: bool = False
    ) -> tuple[list[bytes], list[Joined]]:
        """We are here for further topics: (proofs to send, topics joined thereby). `passing`: they are
        circles'."""
        proofs: list[bytes] = []
        joined: list[Joined] = []
        for topic in topics:
            if passing and topic not in self._passing:
                if len(self._passing) >= MAX_PASSING:
                    continue
                self._passing.add(topic)
            if not self._may_offer(topic, now):
                continue
            proofs.append(join_proof(topic, self._hash, by_initiator=self._initiator))
            expected = join_proof(topic, self._hash, by_initiator=not self._initiator)
            self._ours[expected] = topic
            self._gone.pop(expected, None)
            if expected in self._unmatched:
                self._unmatched.discard(expected)
                joined += self._join(topic)
        return proofs, joined

    def held_back(self) -> list[bytes]:
        """What was to be offered too soon after the last time; to be offered again."""
        return list(self._held_back)

    def _may_offer(self, topic: bytes, now: float) -> bool:
        offers = self._offers.get(topic)
        if offers is None:
            offers = self._offers[topic] = Allowance(burst=OFFER_BURST, per_s=OFFERS_PER_S, now=now)
        if not offers.take(now):
            self._held_back.add(topic)
            return False
        self._held_back.discard(topic)
        return True

    def withdraw(self, topic: bytes) -> int | None:
        """We are no longer here for a topic; the channel to LEAVE, if it was joined."""
        self._held_back.discard(topic)
        expected = join_proof(topic, self._hash, by_initiator=not self._initiator)
        if self._ours.pop(expected, None) is None:
            return None
        channel = self._gone[expected] = channel_of(topic, self._hash)
        if self.joined.pop(channel, None) is None:
            return None
        self._unmatched.add(expected)  # the peer stays: its proof holds if we come back
        self._withdrawn[channel] = expected
        return channel

    def proofs(self, proofs: Iterable[bytes], now: float) -> list[Joined]:
        """The peer proves topics. Raises LimitExceeded where they are more than anybody runs."""
        joined: list[Joined] = []
        for proof in proofs:
            topic = self._ours.get(proof)
            if topic is not None:
                self._count(topic, now)
                joined += self._join(topic)
                continue
            if len(self._unmatched) >= MAX_UNMATCHED:
                raise LimitExceeded(f"A peer shows more than {MAX_UNMATCHED} unknown topics.")
            self._unmatched.add(proof)
            if proof in self._gone:
                self._farewells.append(self._gone[proof])
        return joined

    def farewells(self) -> list[int]:
        """Channels to LEAVE, as the peer has just shown that it takes us for joined."""
        farewells, self._farewells = self._farewells, []
        return farewells

    def left(self, channel: int) -> bytes | None:
        """The peer leaves a channel; its topic."""
        self._unmatched.discard(self._withdrawn.pop(channel, b""))
        return self.joined.pop(channel, None)

    def _count(self, topic: bytes, now: float) -> None:
        """Raises LimitExceeded where the peer comes and goes all the time."""
        if channel_of(topic, self._hash) in self.joined:
            return
        joins = self._joins.get(topic)
        if joins is None:
            joins = self._joins[topic] = Allowance(burst=JOIN_BURST, per_s=JOINS_PER_S, now=now)
        if not joins.take(now):
            raise LimitExceeded("A peer joins and leaves one app all the time.")

    def _join(self, topic: bytes) -> list[Joined]:
        channel = channel_of(topic, self._hash)
        if channel in self.joined or len(self.joined) >= MAX_JOINED:
            return []
        self.joined[channel] = topic
        self._withdrawn.pop(channel, None)
        return [Joined(topic, channel)]
