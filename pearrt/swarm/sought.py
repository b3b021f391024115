"""What peers are looked for: an app, a circle of it or its shelf."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Protocol

from pearrt.swarm.dialer import Dialer, Origin
from pearrt.swarm.scope import Address

if TYPE_CHECKING:
    from pearrt.peer.link import PeerLink


class Near(Protocol):
    """What is known of a peer that is here."""

    @property
    def near(self) -> bool: ...


class Sought(ABC):
    """A topic, the `members` that are here, and where others may be. `ourselves`: addresses that turned out
    to be this very machine's."""

    members: Mapping[PeerLink, Near]

    def __init__(self, topic: bytes, rng: Random, *, wanted_peers: int) -> None:
        self.topic = topic
        self.ourselves: set[Address] = set()
        self.dialer = Dialer(rng, wanted_peers=wanted_peers)
        self.dial_soon = asyncio.Event()

    def add_peer(self, address: Address, origin: Origin = Origin.CONFIGURED) -> None:
        """A further address to try."""
        if self.dialer.add(address, origin, time.monotonic()):
            self.dial_soon.set()

    @abstractmethod
    def peer_joined(self, link: PeerLink, channel: int, *, near: bool) -> None:
        """This peer has shown that it knows the topic too; `channel` is the topic's on the link."""

    @abstractmethod
    def peer_left(self, link: PeerLink) -> None:
        """It is here no more, or never was."""
