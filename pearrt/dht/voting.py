"""Our own public address, by vote (BEP 42): answering nodes say in `ip` where our query came from.

One vote per public network prefix (or address, on local networks), the last `window` voters count, and an
address wins with more than half of at least `quorum` votes: no single network can talk us into an address.
"""

from __future__ import annotations

from collections import Counter

from pearrt.dht.contact import Scope, prefix_of, scope_of

QUORUM = 5
WINDOW = 24


class AddressVotes:
    """Collects votes. `address` is the IP literal that won last, or None."""

    __slots__ = ("_votes", "address")

    def __init__(self) -> None:
        self._votes: dict[object, str] = {}
        self.address: str | None = None

    def vote(self, voter: str, observed: str) -> bool:
        """Counts the vote of the node at IP `voter`; True if `address` changed by it."""
        if scope_of(observed) is not Scope.PUBLIC:
            return False
        place = prefix_of(voter) or voter
        if observed == self.address == self._votes.get(place):
            return False
        self._votes.pop(place, None)
        self._votes[place] = observed
        if len(self._votes) > WINDOW:
            del self._votes[next(iter(self._votes))]
        winner, count = Counter(self._votes.values()).most_common(1)[0]
        if winner == self.address or len(self._votes) < QUORUM or count * 2 <= len(self._votes):
            return False
        self.address = winner
        return True
