"""Frames to stored bytes and back, one small function per codec, bounded before anything is allocated.

A frame's stored bytes are exactly one compressed stream: its header must promise the size that the index
states, with no dictionary, no checksum of its own and a window no larger than the frame; nothing may follow
it. Bytes that break this raise ProtocolViolation and never expand past `raw_size`.

Only zstd needs a library, imported on first use: the bootstrapper unpacks xz, zlib and raw with the standard
library.
"""

from __future__ import annotations

import lzma
import zlib
from typing import Any

from pearrt.errors import ProtocolViolation, UserError

_LEVELS = {"xz": 9, "zlib": 9, "raw": 0}
_SMALL_TREE_BYTES = 32 * 1024 * 1024
_SMALL_TREE_ZSTD_LEVEL = 17
_ZSTD_LEVEL = 9
_ZSTD_PROBE_LEVEL = 1
_PROBED_BYTES = 64 * 1024
_NEXT_TO_NOTHING = 0.99
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_MIN_WINDOW_BYTES = 1024
_XZ_DICTIONARY_BYTES = 4 * 1024 * 1024
_XZ_MEMORY_BYTES = 6 * 1024 * 1024


def default_level(codec: str, raw_bytes: int) -> int:
    """The level at which a tree of `raw_bytes` is packed unless its publisher says otherwise.

    Level 17 makes bundles 6 % smaller than level 9 and takes twelve times as long: seconds for a small tree,
    minutes for a large one.
    """
    if codec == "zstd":
        return _SMALL_TREE_ZSTD_LEVEL if raw_bytes <= _SMALL_TREE_BYTES else _ZSTD_LEVEL
    return _LEVELS[codec]


class Codec:
    """Compressor and decompressor for frames, for use by one thread at a time."""

    def __init__(self, name: str, level: int = 0) -> None:
        self.name = name
        self.level = level
        self._compressor: Any = None
        self._probe: Any = None
        self._decompressor: Any = None

    def pack(self, raw: bytes) -> bytes:
        """The stored bytes of a frame: compressed, or `raw` itself where that is not smaller."""
        packed = self._compress(raw) if self.name != "raw" else raw
        return packed if len(packed) < len(raw) else raw

    def unpack(self, stored: bytes, raw_size: int) -> bytes:
        """The `raw_size` bytes of a frame. Raises ProtocolViolation for bytes that are not that frame."""
        if len(stored) == raw_size:
            return stored
        try:
            return self._expand(stored, raw_size)
        except (lzma.LZMAError, zlib.error) as e:
            raise ProtocolViolation(f"{self.name} frame: {e}") from e

    def _compress(self, raw: bytes) -> bytes:
        if self.name == "zstd":
            return self._compress_zstd(raw)
        if self.name == "xz":
            return lzma.compress(raw, lzma.FORMAT_XZ, lzma.CHECK_NONE, filters=_xz_filters(self.level))
        return zlib.compress(raw, self.level)

    def _compress_zstd(self, raw: bytes) -> bytes:
        """What the quickest level hardly shrinks is left as it is: high levels take seconds to see that."""
        if self._compressor is None:
            self._probe = _zstd_compressor(_ZSTD_PROBE_LEVEL)
            self._compressor = _zstd_compressor(self.level)
        if len(raw) >= _PROBED_BYTES and len(self._probe.compress(raw)) > len(raw) * _NEXT_TO_NOTHING:
            return raw
        return bytes(self._compressor.compress(raw))

    def _expand(self, stored: bytes, raw_size: int) -> bytes:
        if self.name == "zstd":
            return self._expand_zstd(stored, raw_size)
        if self.name == "xz":
            decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY_BYTES)
            return _finished("xz", decoder.decompress(stored, raw_size + 1), decoder, raw_size)
        if self.name == "zlib":
            inflater = zlib.decompressobj()
            return _finished("zlib", inflater.decompress(stored, raw_size + 1), inflater, raw_size)
        raise ProtocolViolation("raw frame: stored and raw size differ")

    def _expand_zstd(self, stored: bytes, raw_size: int) -> bytes:
        zstandard = _zstd()
        if stored[:4] != _ZSTD_MAGIC:
            raise ProtocolViolation("zstd frame: does not begin as one")
        if self._decompressor is None:
            self._decompressor = zstandard.ZstdDecompressor()
        try:
            header = zstandard.get_frame_parameters(stored)
            if header.content_size != raw_size or header.window_size > max(raw_size, _MIN_WINDOW_BYTES):
                raise ProtocolViolation("zstd frame: its header states another size or too large a window")
            if header.dict_id or header.has_checksum:
                raise ProtocolViolation("zstd frame: refers to a dictionary or has a checksum")
            raw = bytes(
                self._decompressor.decompress(
                    stored, max_output_size=raw_size, read_across_frames=False, allow_extra_data=False
                )
            )
        except zstandard.ZstdError as e:
            raise ProtocolViolation(f"zstd frame: {e}") from e
        if len(raw) != raw_size:
            raise ProtocolViolation("zstd frame: holds fewer bytes than stated")
        return raw


def _finished(name: str, raw: bytes, decoder: Any, raw_size: int) -> bytes:
    if len(raw) != raw_size or not decoder.eof or decoder.unused_data:
        raise ProtocolViolation(f"{name} frame: not one whole stream of the stated size")
    return raw


def _xz_filters(level: int) -> list[dict[str, Any]]:
    return [
        {"id": lzma.FILTER_LZMA2, "preset": level | lzma.PRESET_EXTREME, "dict_size": _XZ_DICTIONARY_BYTES}
    ]


def _zstd_compressor(level: int) -> Any:
    return _zstd().ZstdCompressor(
        level=level, write_checksum=False, write_content_size=True, write_dict_id=False, threads=0
    )


def _zstd() -> Any:
    try:
        import zstandard
    except ImportError as e:
        raise UserError(
            "This app's frames are zstd and the zstandard library is not installed.",
            hint="pip install zstandard",
        ) from e
    return zstandard
