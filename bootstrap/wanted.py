"""Which blocks are still to come and who is fetching them. Pure; the caller keeps threads apart.

Each block is asked of one source. When none is left to ask for, those that have been under way for a while
are asked of a second source too, so that the slowest one does not decide when all is done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable

from pearrt.bundle.index import BlockRef

MAX_ASKED = 2
SLOW_S = 0.5


class Wanted:
    """The blocks of one fetch; sources are any hashable values."""

    def __init__(self, blocks: Iterable[BlockRef]) -> None:
        self._missing = {block.id: block for block in blocks}
        self._waiting = deque(self._missing.values())
        self._asked: dict[bytes, set[Hashable]] = {}
        self._asked_at: dict[bytes, float] = {}
        self._lacking: dict[Hashable, set[bytes]] = {}
        self.total_bytes = sum(block.size for block in self._missing.values())
        self.done_bytes = 0

    @property
    def finished(self) -> bool:
        return not self._missing

    def take(self, source: Hashable, now: float) -> BlockRef | None:
        """A block to ask this source for; None while there is nothing for it to do."""
        lacking = self._lacking.get(source, set())
        for _ in range(len(self._waiting)):
            block = self._waiting.popleft()
            if block.id not in self._missing:
                continue
            if block.id not in lacking:
                self._asked.setdefault(block.id, set()).add(source)
                self._asked_at[block.id] = now
                return block
            self._waiting.append(block)
        for block_id, askers in self._asked.items():
            slow = now - self._asked_at[block_id] > SLOW_S
            if slow and len(askers) < MAX_ASKED and source not in askers and block_id not in lacking:
                askers.add(source)
                return self._missing[block_id]
        return None

    def done(self, block: BlockRef) -> None:
        """The block is here."""
        if self._missing.pop(block.id, None) is not None:
            self._asked.pop(block.id, None)
            self.done_bytes += block.size

    def give_back(self, source: Hashable, block: BlockRef, *, lacks: bool = False) -> None:
        """The source did not give it; where it `lacks` the block it is not asked for it again."""
        if lacks:
            self._lacking.setdefault(source, set()).add(block.id)
        askers = self._asked.get(block.id)
        if askers is None:
            return
        askers.discard(source)
        if not askers:
            del self._asked[block.id]
            self._waiting.append(block)
