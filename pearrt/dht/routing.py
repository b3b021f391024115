"""The routing table (Kademlia; BEP 5): 160 buckets, where bucket i holds nodes whose ids share exactly i
leading bits with ours.

Only nodes that answered us become entries; others wait as replacements until they are verified. One entry per
IP address on public networks, a few per network prefix and bucket, so that one network cannot fill a bucket
(Sybil). A full bucket keeps what it has as long as it answers: old nodes are the ones most likely to stay. A
node that failed `max_failures` times in a row is dropped, or at once when a replacement waits; a node whose
id fits its address (BEP 42) may replace one whose does not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter

from pearrt.dht.contact import Address, Contact, Scope, prefix_of, scope_of
from pearrt.dht.node_id import ID_BITS, id_with_prefix, is_secure, random_id
from pearrt.dht.settings import DhtSettings


@dataclass(slots=True)
class Entry:
    """A node in the table. `seen` is when it last answered or asked us something."""

    contact: Contact
    number: int
    prefix: bytes | None
    secure: bool
    seen: float
    failures: int = 0


_seen = attrgetter("seen")


class RoutingTable:
    """The contacts of one node in one address family."""

    __slots__ = ("_addresses", "_buckets", "_entries", "_number", "_replacements", "_settings", "own_id")

    def __init__(self, own_id: bytes, settings: DhtSettings) -> None:
        self.own_id = own_id
        self._number = int.from_bytes(own_id)
        self._settings = settings
        self._entries: dict[bytes, Entry] = {}
        self._buckets: dict[int, list[Entry]] = {}
        self._replacements: dict[int, dict[bytes, Contact]] = {}
        self._addresses: dict[object, bytes] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def __contains__(self, node_id: bytes) -> bool:
        return node_id in self._entries

    def bucket_of(self, node_id: bytes) -> int:
        """The number of leading bits that `node_id` shares with our own id (160 for our own)."""
        return ID_BITS - (self._number ^ int.from_bytes(node_id)).bit_length()

    def answered(self, contact: Contact, now: float) -> None:
        """A node proved that it is reachable: renew its entry or make one if its bucket has room for it."""
        entry = self._entries.get(contact.node_id)
        if entry is not None:
            if entry.contact.address == contact.address:
                entry.seen = now
                entry.failures = 0
            return
        if contact.node_id == self.own_id:
            return
        index = self.bucket_of(contact.node_id)
        holder = self._addresses.get(_place(contact.address))
        if holder is not None:  # the same address under another id: the node restarted, or is playing many
            self._remove(self._entries[holder])
        if not self._prefix_has_room(index, contact):
            return
        host = contact.address[0]
        secure = is_secure(contact.node_id, host)
        new = Entry(contact, int.from_bytes(contact.node_id), prefix_of(host), secure, now)
        if not self._has_room(index) and not self._displace(index, new):
            self._keep_replacement(index, contact)
            return
        self._insert(index, new)

    def asked(self, contact: Contact, now: float) -> bool:
        """A node sent us a query. True if it deserves a ping, by whose answer it could become an entry."""
        entry = self._entries.get(contact.node_id)
        if entry is not None:
            if entry.contact.address == contact.address:
                entry.seen = now
            return False
        index = self.bucket_of(contact.node_id)
        if contact.node_id == self.own_id:
            return False
        if _place(contact.address) in self._addresses:
            return True  # the node we know there may have taken a new id (BEP 42): its answer will tell
        if not self._prefix_has_room(index, contact):
            return False
        if self._has_room(index):
            return True
        self._keep_replacement(index, contact)
        return False

    def wants(self, contact: Contact) -> bool:
        """Whether a contact that others told us of could become an entry at all."""
        return (
            contact.node_id not in self._entries
            and contact.node_id != self.own_id
            and _place(contact.address) not in self._addresses
            and self._has_room(self.bucket_of(contact.node_id))
        )

    def failed(self, contact: Contact) -> Contact | None:
        """A request to `contact` went unanswered. Returns a replacement worth a ping, if its entry was
        dropped."""
        entry = self._entries.get(contact.node_id)
        if entry is None or entry.contact.address != contact.address:
            self._forget_replacement(contact)
            return None
        entry.failures += 1
        index = self.bucket_of(contact.node_id)
        waiting = self._replacements.get(index)
        if entry.failures < self._settings.max_failures and not (waiting and entry.failures > 1):
            return None
        self._remove(entry)
        if not waiting:
            return None
        _, replacement = waiting.popitem()
        return replacement

    def closest(self, target: bytes, count: int) -> list[Contact]:
        """The `count` entries closest to `target`, nearest first, without those that failed lately."""
        number = int.from_bytes(target)
        shared = ID_BITS - (self._number ^ number).bit_length()
        found: list[Entry] = []
        for group in self._groups(shared):
            if group:
                group.sort(key=lambda entry: entry.number ^ number)
                found += group
            if len(found) >= count:
                break
        return [entry.contact for entry in found[:count]]

    def _groups(self, shared: int) -> Iterator[list[Entry]]:
        """Entries in groups of rising distance from a target that shares `shared` bits with our id."""
        buckets = self._buckets
        yield [entry for entry in buckets.get(shared, ()) if entry.failures < 2]
        yield [entry for index in buckets if index > shared for entry in buckets[index] if entry.failures < 2]
        for index in range(shared - 1, -1, -1):
            yield [entry for entry in buckets.get(index, ()) if entry.failures < 2]

    def stalest(self) -> Entry | None:
        """The entry unheard of for longest."""
        return min(self._entries.values(), key=_seen, default=None)

    def refresh_target(self, contact: Contact, rng: random.Random) -> bytes:
        """A random id in the bucket of `contact`, to ask it for: a ping that also refreshes the bucket."""
        index = self.bucket_of(contact.node_id)
        return id_with_prefix(self.own_id, index, rng) if index < ID_BITS else random_id(rng)

    def target_in(self, index: int, rng: random.Random) -> bytes:
        """A random id in bucket `index`."""
        return id_with_prefix(self.own_id, index, rng)

    def buckets(self) -> list[tuple[int, int]]:
        """(index, number of entries) of every bucket that has any, shallow first."""
        return sorted((index, len(entries)) for index, entries in self._buckets.items() if entries)

    def _has_room(self, index: int) -> bool:
        return len(self._buckets.get(index, ())) < self._settings.bucket_size

    def _prefix_has_room(self, index: int, contact: Contact) -> bool:
        prefix = prefix_of(contact.address[0])
        if prefix is None:
            return True
        same = sum(entry.prefix == prefix for entry in self._buckets.get(index, ()))
        return same < self._settings.per_prefix_in_bucket

    def _displace(self, index: int, new: Entry) -> bool:
        """Makes room in a full bucket at the cost of a failing node, or of one that breaks BEP 42 where `new`
        does not."""
        bucket = self._buckets[index]
        worst = max(bucket, key=lambda entry: (entry.failures, not entry.secure))
        if worst.failures == 0 and (worst.secure or not new.secure):
            return False
        self._remove(worst)
        return True

    def _insert(self, index: int, entry: Entry) -> None:
        self._buckets.setdefault(index, []).append(entry)
        self._entries[entry.contact.node_id] = entry
        self._addresses[_place(entry.contact.address)] = entry.contact.node_id
        self._forget_replacement(entry.contact)

    def _remove(self, entry: Entry) -> None:
        del self._entries[entry.contact.node_id]
        del self._addresses[_place(entry.contact.address)]
        self._buckets[self.bucket_of(entry.contact.node_id)].remove(entry)

    def _keep_replacement(self, index: int, contact: Contact) -> None:
        waiting = self._replacements.setdefault(index, {})
        waiting.pop(contact.node_id, None)
        if len(waiting) >= self._settings.max_replacements:
            del waiting[next(iter(waiting))]
        waiting[contact.node_id] = contact

    def _forget_replacement(self, contact: Contact) -> None:
        waiting = self._replacements.get(self.bucket_of(contact.node_id))
        if waiting:
            waiting.pop(contact.node_id, None)


def _place(address: Address) -> object:
    """What may hold only one entry: an IP address on public networks (BEP 45), address and port on local
    ones."""
    return address[0] if scope_of(address[0]) is Scope.PUBLIC else address
