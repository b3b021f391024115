"""A `.pear` file as a source of the pool."""

from __future__ import annotations

from pearrt.bundle.index import BlockRef
from pearrt.bundle.pear_file import PearFile
from pearrt.errors import LimitExceeded, NoSuchApp, NoSuchBlock
from pearrt.gateway.asking import NotThere
from pearrt.trust.metadata_set import MAX_SET_BYTES


class PearSource:
    """Reads an open file, which stays the caller's."""

    busy_for_s = 0.0

    def __init__(self, file: PearFile) -> None:
        self._file = file

    def metadata(self, app_key: bytes, first_root: int = 1) -> bytes:
        """The encoded metadata set with all its roots; not verified. Raises NotThere."""
        try:
            data = self._file.metadata(app_key)
        except NoSuchApp as e:
            raise NotThere(e.message, hint=e.hint) from e
        if len(data) > MAX_SET_BYTES:
            raise LimitExceeded(f"{self._file.path} holds metadata of {len(data)} bytes.")
        return data

    def block(self, block: BlockRef) -> bytes:
        """The block's bytes. Raises NotThere, DigestMismatch, StoreError."""
        try:
            return self._file.block(block.id)
        except NoSuchBlock as e:
            raise NotThere(e.message) from e

    def abort(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """The file is the caller's."""
