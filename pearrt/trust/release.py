"""A release: the signed statement that a channel's newest index, for one platform, is this one.

In targets metadata it is the target `<channel>/<platform>`; length and sha256 are those of the bundle's
index, and `custom` holds the rest. Targets with another kind of path are left for later versions and ignored.

A release that is rolled out in stages names in `before` the one that stays current where it has not arrived
yet: a target of the same shape, with the `sequence` it had, and with nothing before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pearrt.trust.rollout import Rollout, parse_rollout, rollout_fields
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
_RUNTIME = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}")


@dataclass(frozen=True, slots=True)
class Release:
    """`sequence` is the targets version that names it; `released_at` is in seconds since 1970.

    `min_runtime`: the oldest pearrt that can run it, dotted numbers, "" for any. `security`: no rollout holds
    it back. `before`: what is current on machines that the `rollout` has not reached.
    """

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
    min_runtime: str = ""
    security: bool = False
    rollout: Rollout = ()
    before: Release | None = None

    @classmethod
    def parse(cls, path: str, target: Shape, sequence: int, *, with_before: bool = True) -> Release | None:
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
            min_runtime=custom.match("min_runtime", _RUNTIME) if "min_runtime" in custom.value else "",
            security=custom.flag("security"),
            rollout=parse_rollout(custom),
            before=_before(path, custom, sequence, with_before),
        )

    @property
    def path(self) -> str:
        return f"{self.channel}/{self.platform}"

    def as_target(self) -> dict[str, Any]:
        """The entry of `targets` that `parse` reads. What has its default is left out."""
        custom: dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "blocks": [block.hex() for block in self.index_blocks],
            "notes": self.notes,
            "released": time_text(self.released_at),
        }
        if self.min_runtime:
            custom["min_runtime"] = self.min_runtime
        if self.security:
            custom["security"] = True
        if self.rollout:
            custom["rollout"] = rollout_fields(self.rollout)
        if self.before:
            custom["before"] = self.before.as_target()
            custom["before"]["custom"]["sequence"] = self.before.sequence
        return {
            "length": self.index_size,
            "hashes": {"sha256": self.index_digest.hex()},
            "custom": custom,
        }


def _before(path: str, custom: Shape, sequence: int, wanted: bool) -> Release | None:
    """The release that the one in `custom`, of `sequence`, replaces step by step."""
    if "before" not in custom.value:
        return None
    if not wanted:
        raise custom.refuse("before", "stands in a release that is itself before another")
    target = custom.object("before")
    earlier = target.object("custom").integer("sequence", 1)
    if earlier >= sequence:
        raise custom.refuse("before", "is not older than the release that it stands in")
    return Release.parse(path, target, earlier, with_before=False)
