"""Which apps a connection serves: topic proofs both ways (JOIN, LEAVE), for one link. Sans-I/O.

A proof is HMAC(topic, "join" + role + handshake hash): it says nothing to who does not know the topic, is
worthless on any other connection, and cannot be echoed. A topic is joined once both sides proved it; its
channel then stands for it. Proofs of topics that we don't serve (yet) are remembered up to MAX_UNMATCHED, in
case we join later on.

A peer whose proof comes when we have left already takes us for joined, having seen ours: it is told that we
left (`farewells`).

What we offer is bounded too, so that no app of ours can make a peer take us for one that floods it: a topic
is offered MAX_JOINS times on a link, and MAX_PASSING times in all those that come and go (circles). Beyond
that this peer is not met there until there is another link to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pearrt.errors import LimitExceeded
from pearrt.peer.topic import channel_of, join_proof

MAX_UNMATCHED = 1024
MAX_JOINED = 256
MAX_JOINS = 32  # of one topic on one link: each makes us say what we hold
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
        self._joins: dict[bytes, int] = {}
        self._offers: dict[bytes, int] = {}
        self._passing = 0
        self._gone: dict[bytes, int] = {}  # the proof that we no longer expect -> its channel
        self._farewells: list[int] = []
        self._withdrawn: dict[int, bytes] = {}  # channels that we left and the peer did not -> its proof

    def offer(self, topics: Iterable[bytes], *, passing: bool = False) -> tuple[list[bytes], list[Joined]]:
        """We are here for further topics: (proofs to send, topics joined thereby). `passing`: they are
        circles'."""
        proofs: list[bytes] = []
        joined: list[Joined] = []
        for topic in topics:
            if not self._may_offer(topic, passing):
                continue
            proofs.append(join_proof(topic, self._hash, by_initiator=self._initiator))
            expected = join_proof(topic, self._hash, by_initiator=not self._initiator)
            self._ours[expected] = topic
            self._gone.pop(expected, None)
            if expected in self._unmatched:
                self._unmatched.discard(expected)
                joined += self._join(topic)
        return proofs, joined

    def _may_offer(self, topic: bytes, passing: bool) -> bool:
        offers = self._offers.get(topic, 0)
        if offers >= MAX_JOINS or (passing and self._passing >= MAX_PASSING):
            return False
        self._offers[topic] = offers + 1
        self._passing += passing
        return True

    def withdraw(self, topic: bytes) -> int | None:
        """We are no longer here for a topic; the channel to LEAVE, if it was joined."""
        expected = join_proof(topic, self._hash, by_initiator=not self._initiator)
        if self._ours.pop(expected, None) is None:
            return None
        channel = self._gone[expected] = channel_of(topic, self._hash)
        if self.joined.pop(channel, None) is None:
            return None
        self._unmatched.add(expected)  # the peer stays: its proof holds if we come back
        self._withdrawn[channel] = expected
        return channel

    def proofs(self, proofs: Iterable[bytes]) -> list[Joined]:
        """The peer proves topics. Raises LimitExceeded where they are more than anybody runs."""
        joined: list[Joined] = []
        for proof in proofs:
            topic = self._ours.get(proof)
            if topic is not None:
                self._count(topic)
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

    def _count(self, topic: bytes) -> None:
        """Raises LimitExceeded where the peer comes and goes all the time."""
        if channel_of(topic, self._hash) in self.joined:
            return
        self._joins[topic] = self._joins.get(topic, 0) + 1
        if self._joins[topic] > MAX_JOINS:
            raise LimitExceeded("A peer joins and leaves one app all the time.")

    def _join(self, topic: bytes) -> list[Joined]:
        channel = channel_of(topic, self._hash)
        if channel in self.joined or len(self.joined) >= MAX_JOINED:
            return []
        self.joined[channel] = topic
        self._withdrawn.pop(channel, None)
        return [Joined(topic, channel)]
