"""The past of an app that is published from here: each replaced targets metadata as the leaf of its log.

    <publishing>/<55-letter key>/log/<64 hex digits>    0x00 and the canonical `signed`, named by its SHA-256

A leaf is written before the metadata that commits to it, so an interrupted release loses no history. Peers
get them as blocks: see `trust/log.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pearrt.atomic import write_file
from pearrt.crypto.hashes import sha256
from pearrt.errors import StoreError
from pearrt.trust.envelope import MAX_BYTES, Envelope
from pearrt.trust.merkle import LEAF

FOLDER = "log"


def keep_leaf(folder: Path, replaced: Envelope) -> None:
    """Writes the metadata that is about to be replaced. Raises Full, StoreError."""
    data = LEAF + replaced.payload
    path = folder / FOLDER / sha256(data).hex()
    if not path.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_file(path, data)


def leaves(folder: Path) -> Iterator[tuple[bytes, bytes]]:
    """(leaf hash, leaf) of all that are whole, in order of their hashes. Raises StoreError."""
    try:
        for path in sorted((folder / FOLDER).glob("[0-9a-f]*")):
            data = path.read_bytes() if path.stat().st_size <= 1 + MAX_BYTES["targets"] else b""
            if sha256(data).hex() == path.name:
                yield sha256(data), data
    except OSError as e:
        raise StoreError(f"Cannot read {folder / FOLDER}: {e.strerror}.") from e
