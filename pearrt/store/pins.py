"""Pins: named lists of blocks that gc keeps, each a file, all counted in memory.

While a pin changes, the ids of before and after both count, so that gc may come at any moment.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pearrt.atomic import write_file
from pearrt.errors import Corrupt
from pearrt.store.block_file import store_errors
from pearrt.store.layout import Layout, decode_pin, encode_pin


class Pins:
    """The pins of one store. `id in pins` says whether any of them names the block."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._by_name: dict[str, frozenset[bytes]] = {}
        self._counts: Counter[bytes] = Counter()
        self._changing = threading.Lock()  # one pin file changes at a time
        self._counting = threading.Lock()  # held for moments

    def load(self) -> None:
        """Reads all pin files. Raises Corrupt for a damaged one: gc must not go on without it."""
        self._by_name = {path.name: _load(path) for path in self._files()}
        self._counts = Counter(block_id for ids in self._by_name.values() for block_id in ids)

    def sweep(self) -> None:
        """Removes what a killed writer left beside the pin files."""
        for path in self._layout.pins.iterdir():
            if path.name.startswith("."):
                path.unlink()

    def __contains__(self, block_id: bytes) -> bool:
        return block_id in self._counts

    def names(self) -> list[str]:
        return sorted(self._by_name)

    def loose(self, ids: Iterable[bytes]) -> set[bytes]:
        """Those of `ids` that no pin names."""
        with self._counting:
            return {block_id for block_id in ids if block_id not in self._counts}

    def set(self, name: str, ids: Iterable[bytes]) -> None:
        """Makes the pin name exactly `ids`, durably. Raises Full or StoreError, having changed nothing."""
        wanted = frozenset(ids)
        path = self._layout.pin(name)
        with self._changing:
            with self._counting:
                self._counts.update(wanted)
            over = wanted
            try:
                write_file(path, encode_pin(wanted))
                over, self._by_name[name] = self._by_name.get(name, frozenset()), wanted
            finally:
                self._uncount(over)

    def remove(self, name: str) -> None:
        """Forgets the pin, if there is one. Raises StoreError."""
        path = self._layout.pin(name)
        with self._changing:
            with store_errors(self._layout.root), contextlib.suppress(FileNotFoundError):
                path.unlink()
            self._uncount(self._by_name.pop(name, frozenset()))

    def _uncount(self, ids: Iterable[bytes]) -> None:
        with self._counting:
            for block_id in ids:
                self._counts[block_id] -= 1
                if self._counts[block_id] <= 0:
                    del self._counts[block_id]

    def _files(self) -> list[Path]:
        if not self._layout.pins.exists():
            return []
        return [path for path in self._layout.pins.iterdir() if not path.name.startswith(".")]


def _load(path: Path) -> frozenset[bytes]:
    try:
        return decode_pin(path.read_bytes())
    except ValueError as e:
        raise Corrupt(f"Pin {path} is damaged: {e}.", hint=f"Remove {path}; its app fetches again.") from e
