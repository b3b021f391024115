"""What the store says of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GcReport:
    """What gc removed (or would remove), in blocks and bytes."""

    removed: int
    freed_bytes: int


@dataclass(frozen=True, slots=True)
class FsckReport:
    """`checked` blocks were read; `damaged` ones dropped, `foreign` files (paths below the root) removed."""

    checked: int
    damaged: tuple[bytes, ...]
    foreign: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """Blocks and bytes in all, and those that some pin names."""

    blocks: int
    stored_bytes: int
    pinned_blocks: int
    pinned_bytes: int
