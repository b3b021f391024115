"""What a caller can ask of a node: find nodes, get peers, announce, get an item, put an item.

Each operation is a lookup, and for announce and put a round of writes to the k closest nodes that answered.
An operation says what to ask each node and keeps what comes back; the node does the sending. Peers and items
are checked here: peers must be usable addresses, immutable items must have the target's hash, mutable ones
the right key, salt and signature; of several the highest seq wins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from pearrt.dht.contact import Address, Contact, usable
from pearrt.dht.items import CAS_MISMATCH, ImmutableItem, MutableItem, mutable_target
from pearrt.dht.lookup import Lookup
from pearrt.dht.messages import (
    AnnouncePeer,
    FindNode,
    Get,
    GetPeers,
    Put,
    Request,
    Response,
)

MAX_PEERS_FOUND = 2000

# From the newest item found (None if there is none) to the item to store, or None to store nothing.
SignItem: TypeAlias = Callable[[MutableItem | None], MutableItem | None]


class Operation:
    """A lookup in progress. `done` turns true once; `stored` counts the nodes that accepted a write."""

    wide = False  # whether the lookup must reach the k closest nodes rather than the search width

    def __init__(self, target: bytes) -> None:
        self.target = target
        self.lookup: Lookup | None = None
        self.started = 0.0
        self.writing = False
        self.writes_open = 0
        self.requests = 0
        self.stored = 0
        self.refusals: list[int] = []
        self.done = False
        self.request: Request = FindNode(target)

    def heard(self, contact: Contact, response: Response) -> None:
        """An answer to the lookup's request."""

    @property
    def satisfied(self) -> bool:
        """Whether the lookup may end early."""
        return False

    def writes(self, k: int) -> list[tuple[Contact, Request]]:
        """What to write to whom once the lookup has ended."""
        return []


class FindNodes(Operation):
    """The k closest live nodes to a target."""

    wide = True

    def closest(self, k: int) -> list[Contact]:
        """Nearest first; complete when done."""
        return [] if self.lookup is None else [contact for contact, _ in self.lookup.closest(k)]


class Join(Operation):
    """Looks up an id near our own to meet the neighbours; nobody reads the result."""


class FindPeers(Operation):
    """The peers announced for a topic. New ones collect in `fresh`, which the shell drains."""

    def __init__(self, topic: bytes) -> None:
        super().__init__(topic)
        self.request = GetPeers(topic)
        self.fresh: list[Address] = []
        self._seen: set[Address] = set()

    def heard(self, contact: Contact, response: Response) -> None:
        for peer in response.peers or ():
            if (
                peer not in self._seen
                and len(self._seen) < MAX_PEERS_FOUND
                and usable(peer, contact.address[0])
            ):
                self._seen.add(peer)
                self.fresh.append(peer)

    def take_fresh(self) -> list[Address]:
        """The peers found since the last call."""
        fresh, self.fresh = self.fresh, []
        return fresh


class Announce(FindPeers):
    """Tells the k closest nodes that this host is a peer of a topic at `port`."""

    wide = True

    def __init__(self, topic: bytes, port: int) -> None:
        super().__init__(topic)
        self.port = port

    def writes(self, k: int) -> list[tuple[Contact, Request]]:
        closest = [] if self.lookup is None else self.lookup.closest(k)
        return [(contact, AnnouncePeer(self.target, self.port, token)) for contact, token in closest if token]


class FindImmutable(Operation):
    """The immutable item under a target; the first that hashes to it is it."""

    def __init__(self, target: bytes) -> None:
        super().__init__(target)
        self.request = Get(target)
        self.item: ImmutableItem | None = None

    def heard(self, contact: Contact, response: Response) -> None:
        item = response.item
        if isinstance(item, ImmutableItem) and self.item is None and item.target == self.target:
            self.item = item

    @property
    def satisfied(self) -> bool:
        return self.item is not None


class FindMutable(Operation):
    """The newest mutable item under a key and salt. `held` is what seq each node returned."""

    def __init__(self, public_key: bytes, salt: bytes) -> None:
        super().__init__(mutable_target(public_key, salt))
        self.request = Get(self.target)
        self.public_key = public_key
        self.salt = salt
        self.item: MutableItem | None = None
        self.held: dict[Contact, int] = {}

    def heard(self, contact: Contact, response: Response) -> None:
        item = response.item
        if not isinstance(item, MutableItem) or item.public_key != self.public_key:
            return
        item = replace(item, salt=self.salt) if self.salt else item
        newer = self.item is None or item.seq > self.item.seq
        if newer and not item.verifies():
            return
        self.held[contact] = item.seq
        if newer:
            self.item = item


class PutImmutable(FindImmutable):
    """Stores an immutable item at the k closest nodes."""

    wide = True

    def __init__(self, item: ImmutableItem) -> None:
        super().__init__(item.target)
        self._own = item

    @property
    def satisfied(self) -> bool:
        return False

    def writes(self, k: int) -> list[tuple[Contact, Request]]:
        closest = [] if self.lookup is None else self.lookup.closest(k)
        return [(contact, Put(self._own, token)) for contact, token in closest if token]


class PutMutable(FindMutable):
    """Stores a mutable item at the k closest nodes; `sign` makes it once the newest stored seq is known.

    With `cas` nothing is written when the newest seq found is another: nodes that missed the last update
    would accept what the others refuse. Else each node is held to the seq that it returned, and those without
    a value to none (BEP 44).
    """

    wide = True

    def __init__(self, public_key: bytes, salt: bytes, sign: SignItem, *, cas: int | None) -> None:
        super().__init__(public_key, salt)
        self._sign = sign
        self._cas = cas
        self.own: MutableItem | None = None

    def writes(self, k: int) -> list[tuple[Contact, Request]]:
        closest = [] if self.lookup is None else self.lookup.closest(k)
        if self._cas is not None and self.item is not None and self.item.seq != self._cas:
            self.refusals += [CAS_MISMATCH.code for seq in self.held.values() if seq != self._cas]
            return []
        self.own = self._sign(self.item)
        if self.own is None:
            return []
        return [
            (contact, Put(self.own, token, self._cas_for(contact))) for contact, token in closest if token
        ]

    def _cas_for(self, contact: Contact) -> int | None:
        return None if self._cas is None else self.held.get(contact)
