"""Circles: the same app on several machines, saying things to each other. What they say is the app's own.

Rules:
    the topic     derived one-way from the app's topic and the circle's name (`circle_topic`): never an app's
                  own topic; who knows the app and guesses the name is in, nobody else learns of either
    the members   links on which both sides proved that topic (`topics.py`), MAX_MEMBERS at most; each has a
                  name that differs from circle to circle, so that apps cannot follow a machine by it
    a message     at most 16 KiB, in no order between members; dropped, never kept, where the sender is over
                  its allowance or the receiver does not read. Nothing is told about what was dropped

A circle is found, announced and dialled as an app's swarm is, and nothing of it goes to the disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from pearrt.crypto.hashes import hmac_sha256
from pearrt.errors import ProtocolViolation, UserError
from pearrt.peer import messages as wire
from pearrt.swarm.allowance import Allowance
from pearrt.swarm.sought import Sought

if TYPE_CHECKING:
    from pearrt.peer.link import PeerLink

MAX_NAME_BYTES = 64
MAX_MEMBERS = 64
MAX_WAITING_BYTES = 256 * 1024  # on a link; with more on its way to a member, it gets nothing further
MEMBER_NAME_BYTES = 16
MESSAGES_PER_S, MESSAGE_BURST = 100, 400  # from one member
BYTES_PER_S, BYTE_BURST = 512 * 1024, 2 << 20
SENT_BYTES_PER_S, SENT_BYTE_BURST = 2 << 20, 8 << 20  # of a circle, to all its members together


def circle_topic(app_topic: bytes, name: str) -> bytes:
    """The topic of an app's circle. Raises UserError for a name that is empty or too long."""
    try:
        data = name.encode()
    except UnicodeEncodeError as e:
        raise UserError("A circle's name is text.") from e
    if not 0 < len(data) <= MAX_NAME_BYTES:
        raise UserError(f"A circle's name has 1 to {MAX_NAME_BYTES} bytes, not {len(data)}.")
    return hmac_sha256(app_topic, b"pearrt-circle-v1\0" + data)


def member_name(topic: bytes, peer_id: bytes) -> str:
    """How a member is called in this circle: 32 hex digits, the same for all and in no other circle."""
    return hmac_sha256(topic, b"member" + peer_id)[:MEMBER_NAME_BYTES].hex()


@dataclass(slots=True)
class CircleMember:
    """One member, and what it may still say."""

    name: str
    channel: int
    near: bool
    messages: Allowance
    data: Allowance


class Circle(Sought):
    """Made by `SwarmService.enter`. `heard(member, data)` and `changed(member, is here)` tell of members."""

    def __init__(
        self,
        topic: bytes,
        rng: Random,
        *,
        heard: Callable[[str, bytes], None],
        changed: Callable[[str, bool], None],
        wanted_peers: int,
    ) -> None:
        super().__init__(topic, rng, wanted_peers=wanted_peers)
        self.members: dict[PeerLink, CircleMember] = {}
        self.dropped = 0
        self._uplink = Allowance(burst=SENT_BYTE_BURST, per_s=SENT_BYTES_PER_S, now=time.monotonic())
        self._heard = heard
        self._changed = changed

    @property
    def names(self) -> list[str]:
        """The members that are here now."""
        return sorted(member.name for member in self.members.values())

    def send(self, data: bytes, to: str = "") -> int:
        """Says it to one member, or to all; gives to how many. 0 where nobody is there or reads."""
        said, now = 0, time.monotonic()
        for link, member in self.members.items():
            if to and member.name != to:
                continue
            waits = link.closed or link.queued_bytes > MAX_WAITING_BYTES
            if waits or not self._uplink.take(now, len(data)):
                self.dropped += 1
                continue
            link.send(wire.AppMessage(member.channel, data))
            said += 1
        return said

    # -- for the service

    def peer_joined(self, link: PeerLink, channel: int, *, near: bool) -> None:
        if len(self.members) >= MAX_MEMBERS:
            return
        now = time.monotonic()
        member = CircleMember(
            member_name(self.topic, link.peer_id),
            channel,
            near,
            Allowance(burst=MESSAGE_BURST, per_s=MESSAGES_PER_S, now=now),
            Allowance(burst=BYTE_BURST, per_s=BYTES_PER_S, now=now),
        )
        self.members[link] = member
        self._changed(member.name, True)

    def peer_left(self, link: PeerLink) -> None:
        if (member := self.members.pop(link, None)) is not None:
            self._changed(member.name, False)

    def received(self, link: PeerLink, message: wire.Message, now: float) -> None:
        """A message in the circle's channel. Raises ProtocolViolation for one of another kind."""
        if not isinstance(message, wire.AppMessage):
            raise ProtocolViolation(f"A {type(message).__name__} in a circle.")
        member = self.members.get(link)
        if member is None:
            return
        if member.messages.take(now) and member.data.take(now, len(message.data)):
            self._heard(member.name, message.data)
        else:
            self.dropped += 1
