"""An order in which to ask: whoever shares least with those asked before. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

P = TypeVar("P")


def diverse(peers: Sequence[P], marks: Callable[[P], tuple[Hashable, ...]]) -> list[P]:
    """`peers` reordered: each next one bears the marks (its network, how it was found) that were seen least
    so far; among equals the given order stays."""
    left, ordered = list(peers), []
    seen: Counter[tuple[int, Hashable]] = Counter()
    while left:
        chosen = min(left, key=lambda peer: sum(seen[place] for place in enumerate(marks(peer))))
        left.remove(chosen)
        ordered.append(chosen)
        seen.update(enumerate(marks(chosen)))
    return ordered
