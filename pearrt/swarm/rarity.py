"""Ordinals in buckets by how many copies of them are known, each bucket in random order.

What both the picker (what to ask for) and the spread (what to send next) stand on: moving an ordinal between
buckets and finding one of the rarest are O(1), ties are random (a new entry is swapped into a random place).
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random


class RarityBuckets:
    """A set of ordinals, each with a level (number of known copies)."""

    __slots__ = ("_buckets", "_place", "_rng", "size")

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._buckets: list[list[int]] = []
        self._place: dict[int, tuple[int, int]] = {}
        self.size = 0

    def __contains__(self, ordinal: int) -> bool:
        return ordinal in self._place

    def add(self, ordinal: int, level: int) -> None:
        """Puts a new ordinal into the bucket of `level`, at a random place."""
        while len(self._buckets) <= level:
            self._buckets.append([])
        bucket = self._buckets[level]
        at = int(self._rng.random() * (len(bucket) + 1))
        bucket.append(ordinal)
        last = len(bucket) - 1
        if at != last:
            other = bucket[at]
            bucket[at], bucket[last] = ordinal, other
            self._place[other] = (level, last)
        self._place[ordinal] = (level, at)
        self.size += 1

    def remove(self, ordinal: int) -> bool:
        """Takes an ordinal out; says whether it was there."""
        where = self._place.pop(ordinal, None)
        if where is None:
            return False
        level, at = where
        bucket = self._buckets[level]
        tail = bucket.pop()
        if tail != ordinal:
            bucket[at] = tail
            self._place[tail] = (level, at)
        self.size -= 1
        return True

    def move(self, ordinal: int, level: int) -> None:
        """Changes an ordinal's level; no-op for one that is not in the set."""
        if self.remove(ordinal):
            self.add(ordinal, level)

    def level(self, ordinal: int) -> int | None:
        where = self._place.get(ordinal)
        return where[0] if where else None

    def rarest_first(self) -> Iterator[int]:
        """All ordinals, fewest copies first, random among equals. Do not change the set while iterating."""
        for bucket in self._buckets:
            yield from reversed(bucket)
