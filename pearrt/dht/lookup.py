"""One iterative lookup (Kademlia): walk towards a target by asking the closest known nodes for closer ones.

Pure bookkeeping: `next_contacts` says whom to ask now; `answered`, `late`, `overdue` and `failed` report what
became of it. A late node no longer holds up the next request, and a lookup ends without it once the `width`
closest others have answered. With fewer than that and nobody left to ask, late nodes are waited for until
they are overdue; as long as not one node has answered, until they have failed.

Replies hold 8 contacts, all nearest to the target, so a lookup that wants 20 runs dry before it knows them.
It then widens: the nearest nodes are asked for the target with one bit flipped, whose nearest nodes are the
target's next ones beyond the subtree known so far; at most four bits, from that subtree's own on upwards.

Against hostile nodes: one candidate per address, a few per public network prefix, a bound on candidates and
on requests; a node that answers under another id than we were told is filed under the id it has.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from enum import Enum, auto

from pearrt.dht.contact import ID_BYTES, Address, Contact, PrefixLimit, usable
from pearrt.dht.node_id import ID_BITS
from pearrt.dht.settings import DhtSettings

_WIDENINGS = 4
_ASKED_TO_WIDEN = 2


class _State(Enum):
    NEW = auto()
    ASKED = auto()
    LATE = auto()
    OVERDUE = auto()
    ANSWERED = auto()
    FAILED = auto()


_UNANSWERED = frozenset({_State.ASKED, _State.LATE, _State.OVERDUE})
_NOT_COUNTED_ON = frozenset({_State.LATE, _State.OVERDUE, _State.FAILED})


class _Candidate:
    __slots__ = ("contact", "depth", "distance", "state", "token")

    def __init__(self, contact: Contact, distance: int, depth: int) -> None:
        self.contact = contact
        self.distance = distance
        self.depth = depth
        self.state = _State.NEW
        self.token = b""

    def __lt__(self, other: _Candidate) -> bool:
        return self.distance < other.distance


class Lookup:
    """A walk towards `target`. `requests` and `hops` are for statistics: the longest chain of referrals that
    answered."""

    __slots__ = (
        "_by_address", "_excluded", "_inflight", "_order", "_prefixes", "_settings", "_target",
        "_widen_bits", "_widening", "hops", "requests", "target", "width",
    )  # fmt: skip

    def __init__(
        self, target: bytes, contacts: Iterable[Contact], settings: DhtSettings, *, width: int, own_id: bytes
    ) -> None:
        self.target = target
        self.width = width
        self.requests = 0
        self.hops = 0
        self._settings = settings
        self._target = int.from_bytes(target)
        self._excluded = own_id
        self._order: list[_Candidate] = []
        self._by_address: dict[Address, _Candidate] = {}
        self._prefixes = PrefixLimit(settings.per_prefix_in_lookup)
        self._inflight = 0
        self._widening = 0
        self._widen_bits: list[int] | None = None
        for contact in contacts:
            self._add(contact, 0)

    def add_seed(self, address: Address) -> None:
        """A first node whose id is unknown: asked before any other, and never part of the result unless it
        answers."""
        if address not in self._by_address:
            candidate = _Candidate(Contact(b"", address), -1, 0)
            self._by_address[address] = candidate
            self._order.insert(0, candidate)

    def _add(self, contact: Contact, depth: int) -> None:
        if contact.address in self._by_address or contact.node_id == self._excluded:
            return
        distance = int.from_bytes(contact.node_id) ^ self._target
        order = self._order
        if len(order) >= self._settings.max_candidates:
            last = order[-1]
            if distance >= last.distance or last.state is not _State.NEW:
                return
            order.pop()
            del self._by_address[last.contact.address]
            self._prefixes.release(last.contact.address[0])
        if not self._prefixes.admit(contact.address[0]):
            return
        candidate = _Candidate(contact, distance, depth)
        self._by_address[contact.address] = candidate
        insort(order, candidate)

    def next_contacts(self) -> list[Contact]:
        """Whom to ask now, closest first: at most `alpha` requests are open, not counting late ones."""
        chosen: list[Contact] = []
        room = min(self._settings.alpha - self._inflight, self._settings.max_lookup_requests - self.requests)
        wanted = self.width
        for candidate in self._order:
            if wanted <= 0 or room <= 0:
                break
            state = candidate.state
            if state is _State.NEW:
                candidate.state = _State.ASKED
                chosen.append(candidate.contact)
                self._inflight += 1
                self.requests += 1
                room -= 1
            if state not in _NOT_COUNTED_ON:
                wanted -= 1
        return chosen

    def next_widening(self) -> list[tuple[Contact, bytes]]:
        """Whom to ask for which other target, if the result is too small and nobody is left to ask for
        ours.
        """
        if self.width <= self._settings.reply_contacts or self._widening or not self._settled:
            return []
        nearest = [candidate for candidate in self._order if candidate.state is _State.ANSWERED]
        if not nearest or len(nearest) >= self.width:
            return []
        if self._widen_bits is None:
            known = nearest[: self._settings.reply_contacts][-1]
            shared = min(ID_BITS - known.distance.bit_length(), ID_BITS - 1)
            self._widen_bits = list(range(max(0, shared - _WIDENINGS + 1), shared + 1))
        if not self._widen_bits:
            return []
        target = (self._target ^ 1 << (ID_BITS - 1 - self._widen_bits.pop())).to_bytes(ID_BYTES)
        asked = nearest[:_ASKED_TO_WIDEN]
        self._widening = len(asked)
        self.requests += len(asked)
        return [(candidate.contact, target) for candidate in asked]

    def widened(self, address: Address, contacts: Iterable[Contact]) -> None:
        """The node at `address` answered such a request, or did not: then without contacts."""
        self._widening -= 1
        candidate = self._by_address.get(address)
        for contact in contacts:
            if candidate is not None and usable(contact.address, address[0]):
                self._add(contact, candidate.depth + 1)

    @property
    def finished(self) -> bool:
        """Whether nothing more is to be asked or waited for."""
        return self._settled and not self._widening

    @property
    def _settled(self) -> bool:
        """Whether the closest `width` nodes worth waiting for have answered, or nobody is left to ask."""
        answered = 0
        waited_for = overdue = False
        exhausted = self.requests >= self._settings.max_lookup_requests
        for candidate in self._order:
            if answered >= self.width:
                return True
            state = candidate.state
            if state is _State.ASKED or (state is _State.NEW and not exhausted):
                return False
            answered += state is _State.ANSWERED
            waited_for |= state is _State.LATE
            overdue |= state is _State.OVERDUE
        return answered >= self.width or not (waited_for or (overdue and not answered))

    def answered(self, address: Address, sender: bytes, token: bytes, contacts: Iterable[Contact]) -> None:
        """The node at `address` answered as `sender` and named `contacts`."""
        candidate = self._by_address.get(address)
        if candidate is None or candidate.state not in _UNANSWERED:
            return
        self._settle(candidate, _State.ANSWERED)
        candidate.token = token
        self.hops = max(self.hops, candidate.depth + 1)
        if sender != candidate.contact.node_id:
            self._refile(candidate, sender)
        for contact in contacts:
            if usable(contact.address, address[0]):
                self._add(contact, candidate.depth + 1)

    def _refile(self, candidate: _Candidate, sender: bytes) -> None:
        self._order.remove(candidate)
        if sender == self._excluded or any(other.contact.node_id == sender for other in self._order):
            return
        candidate.contact = Contact(sender, candidate.contact.address)
        candidate.distance = int.from_bytes(sender) ^ self._target
        insort(self._order, candidate)

    def late(self, address: Address) -> None:
        """No answer after some round trips: another may be asked meanwhile."""
        candidate = self._by_address.get(address)
        if candidate is not None and candidate.state is _State.ASKED:
            self._settle(candidate, _State.LATE)

    def overdue(self, address: Address) -> None:
        """No answer after the short timeout: hardly worth waiting for."""
        candidate = self._by_address.get(address)
        if candidate is not None and candidate.state is _State.LATE:
            candidate.state = _State.OVERDUE

    def failed(self, address: Address) -> None:
        """No answer at all, or an error."""
        candidate = self._by_address.get(address)
        if candidate is not None and candidate.state in _UNANSWERED:
            self._settle(candidate, _State.FAILED)

    def _settle(self, candidate: _Candidate, state: _State) -> None:
        if candidate.state is _State.ASKED:
            self._inflight -= 1
        candidate.state = state

    def closest(self, count: int) -> list[tuple[Contact, bytes]]:
        """The `count` closest nodes that answered, each with the token it gave."""
        return [(c.contact, c.token) for c in self._order if c.state is _State.ANSWERED][:count]
