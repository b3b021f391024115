"""Memory for blocks on their way, sealed or not, used again once nobody holds a view of it.

Fresh memory of this size comes from the system page by page, which costs as much as encrypting into it. A
bytearray that is referred to by its pool alone cannot have a view left, since views refer to what they show.
"""

from __future__ import annotations

from sys import getrefcount

from pearrt.crypto.aead import TAG_BYTES
from pearrt.peer.messages import HEADER_BYTES, Block

# A BLOCK as it goes over the wire: header, body, and five records, each with a length and a tag.
POOLED_BYTES = HEADER_BYTES + Block.MAX_BODY_BYTES + 5 * (2 + TAG_BYTES)
MAX_POOLED = 64
TRIES = 8


def _references(buffers: list[bytearray], number: int) -> int:
    return getrefcount(buffers[number])


# What an unused buffer counts: measured, since it is not promised to stay the same in other Pythons.
_UNUSED = _references([bytearray(1)], 0)


class BufferPool:
    """At most MAX_POOLED buffers of POOLED_BYTES each. Not for use by several threads at once."""

    __slots__ = ("_buffers", "_next")

    def __init__(self) -> None:
        self._buffers: list[bytearray] = []
        self._next = 0

    def take(self, size: int) -> memoryview:
        """`size` bytes that nobody else can see; their content is undefined."""
        if not POOLED_BYTES // 2 <= size <= POOLED_BYTES:
            return memoryview(bytearray(size))
        for _ in range(min(TRIES, len(self._buffers))):
            self._next = (self._next + 1) % len(self._buffers)
            if _references(self._buffers, self._next) <= _UNUSED:
                return memoryview(self._buffers[self._next])[:size]
        fresh = bytearray(POOLED_BYTES)
        if len(self._buffers) < MAX_POOLED:
            self._buffers.append(fresh)
        return memoryview(fresh)[:size]
