"""A release: the signed statement that a channel's newest index, for one platform, is this one.

In targets metadata it is the target `<channel>/<platform>`; length and sha256 are those of the bundle's
index, and `custom` holds the rest. Targets with another kind of path are left for later versions and ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pearrt.trust.shape import HEX_32, Shape, time_text

ANY_PLATFORM = "any"
MAX_VERSION_CHARS = 64
MAX_NAME_CHARS = 64
MAX_NOTES_CHARS = 4096
MAX_INDEX_BYTES = 64 * 1024 * 1024
MAX_INDEX_BLOCKS = 1024
MAX_TARGETS = 256

PATH = re.compile(r"([a-z0-9][a-z0-9._-]{0,31})/([a-z0-9][a-z0-9._-]{0,31})")
_VERSION = re.compile(r"\S{1,64}")


@dataclass(frozen=True, slots=True)
class Release:
    """`sequence` is the targets version that names it; `released_at` is in seconds since 1970."""

    channel: str
    platform: str
    name: str
    version: str
    sequence: int
    index_digest: bytes
    index_size: int
    index_blocks: tuple[bytes, ...]
    notes: str
    released_at: float

    @classmethod
    def parse(cls, path: str, target: Shape, sequence: int) -> Release | None:
        """From one entry of `targets`; None for a path of another kind. Raises ProtocolViolation."""
        size = target.integer("length", 0)
        hashes = target.object("hashes")
        hashes.only("sha256")
        digest = bytes.fromhex(hashes.match("sha256", HEX_32))
        match = PATH.fullmatch(path)
        if match is None:
            return None
        if size > MAX_INDEX_BYTES:
            raise target.refuse("length", f"is more than {MAX_INDEX_BYTES}")
        custom = target.object("custom")
        version = custom.words("version", MAX_VERSION_CHARS)
        if not _VERSION.fullmatch(version):
            raise custom.refuse("version", "is empty or holds a space")
        return cls(
            channel=match[1],
            platform=match[2],
            name=custom.words("name", MAX_NAME_CHARS),
            version=version,
            sequence=sequence,
            index_digest=digest,
            index_size=size,
            index_blocks=tuple(map(bytes.fromhex, custom.strings("blocks", HEX_32, MAX_INDEX_BLOCKS))),
            notes=custom.words("notes", MAX_NOTES_CHARS, lines=True),
            released_at=custom.time("released"),
        )

    @property
    def path(self) -> str:
        return f"{self.channel}/{self.platform}"

    def as_target(self) -> dict[str, Any]:
        """The entry of `targets` that `parse` reads."""
        return {
            "length": self.index_size,
            "hashes": {"sha256": self.index_digest.hex()},
            "custom": {
                "name": self.name,
                "version": self.version,
                "blocks": [block.hex() for block in self.index_blocks],
                "notes": self.notes,
                "released": time_text(self.released_at),
            },
        }
