"""Where a store keeps what: names only, no I/O.

<root>/lock                    held by the process that writes; holds its pid and purpose
       blocks/<2 hex>/<64 hex> one block; the name is the SHA-256 of the file, as `sha256sum` prints it
       tmp/                    writes under way; emptied when a writer opens the store
       pins/<name>             64 hex digits a line: blocks that gc keeps
"""

from __future__ import annotations

import re
from pathlib import Path

from pearrt.errors import StoreError

DIGEST_HEX = 64
PREFIXES = tuple(f"{number:02x}" for number in range(256))
_BLOCK_NAME = re.compile(r"[0-9a-f]{64}")
_PIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Layout:
    """The paths of the store at `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = root / "lock"
        self.blocks = root / "blocks"
        self.temporary = root / "tmp"
        self.pins = root / "pins"
        self._blocks_text = str(self.blocks)
        self._temporary_text = str(self.temporary)

    def block(self, block_id: bytes) -> Path:
        name = block_id.hex()
        return self.blocks / name[:2] / name

    def block_file(self, block_id: bytes) -> str:
        """The path of `block` as text: on the way of every block, where building a Path is felt."""
        name = block_id.hex()
        return f"{self._blocks_text}/{name[:2]}/{name}"

    def temporary_file(self, serial: int) -> str:
        """Where a block is written before it gets its name."""
        return f"{self._temporary_text}/{serial}"

    def pin(self, name: str) -> Path:
        """Raises StoreError for a name that is no plain file name."""
        if not _PIN_NAME.fullmatch(name):
            raise StoreError(
                f"{name!r} cannot name a pin: letters, digits, dots, dashes and underscores only."
            )
        return self.pins / name


def is_block_name(name: str, prefix: str) -> bool:
    """Whether a file of this name belongs into the folder `prefix`."""
    return name.startswith(prefix) and _BLOCK_NAME.fullmatch(name) is not None


def encode_pin(ids: frozenset[bytes]) -> bytes:
    """The pin file for `ids`: sorted, so that equal sets are equal files."""
    return b"".join(sorted(block_id.hex().encode() + b"\n" for block_id in ids))


def decode_pin(data: bytes) -> frozenset[bytes]:
    """The ids in a pin file. Raises ValueError for anything else."""
    lines = data.split()
    ids = frozenset(bytes.fromhex(line.decode("ascii")) for line in lines)
    if any(len(block_id) * 2 != DIGEST_HEX for block_id in ids):
        raise ValueError("a line of another length than a digest's")
    return ids
