"""Bytes of a signed file, checked on their way out. A shell of the web room.

The tree was verified when it was unpacked; what is served is checked again, against the digest that was
signed, as it is read. The last piece is held back until the sum is right: whoever gets a file whole got the
signed one.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pearrt.errors import Corrupt
from pearrt.web.site import SignedFile

PIECE_BYTES = 256 * 1024
_READ = os.O_RDONLY | sum(
    getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "O_BINARY")
)


def pieces(folder: Path, file: SignedFile) -> Iterator[bytes]:
    """The content, piece by piece. Raises Corrupt before the last one where it is not what was signed."""
    digest, left, held = hashlib.sha256(), file.size, b""
    try:
        fd = os.open(folder / file.path, _READ)
        with open(fd, "rb", buffering=0) as source:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
                raise _damaged(file)
            while left and (piece := source.read(min(PIECE_BYTES, left))):
                left -= len(piece)
                digest.update(piece)
                if held:
                    yield held
                held = piece
    except OSError as e:
        raise _damaged(file) from e
    if left or digest.digest() != file.sha256:
        raise _damaged(file)
    yield held


def _damaged(file: SignedFile) -> Corrupt:
    return Corrupt(f"{file.path} is not the file that was signed.", hint="`pearrt verify` checks the app.")
