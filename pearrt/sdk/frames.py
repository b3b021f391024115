"""Frames of the app's channel: u32 big-endian length, then that many bytes of JSON, an object. Pure.

Rules: a length is checked before anything is kept for it; a frame is an object or an error; no frame is
longer than MAX_FRAME_BYTES either way. The daemon reads with the same code, so both ends agree on what a
frame is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

LENGTH_BYTES = 4
MAX_FRAME_BYTES = 64 * 1024


class BadFrame(ValueError):
    """Bytes that are no frame, or a message that does not fit into one."""


def encode(message: Mapping[str, Any]) -> bytes:
    """The frame of a message. Raises BadFrame for one that is too long or not JSON."""
    try:
        data = json.dumps(message, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as e:
        raise BadFrame(f"The message is not JSON: {e}.") from e
    if len(data) > MAX_FRAME_BYTES:
        raise BadFrame(f"The message takes {len(data)} bytes; at most {MAX_FRAME_BYTES} fit into a frame.")
    return len(data).to_bytes(LENGTH_BYTES) + data


def length(head: bytes) -> int:
    """The length that a frame's first four bytes tell. Raises BadFrame where it is over the limit."""
    size = int.from_bytes(head)
    if size > MAX_FRAME_BYTES:
        raise BadFrame(f"A frame of {size} bytes was announced; at most {MAX_FRAME_BYTES} are allowed.")
    return size


def parse(data: bytes) -> dict[str, Any]:
    """The object in a frame. Raises BadFrame for anything else."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as e:
        raise BadFrame(f"A frame is no JSON: {type(e).__name__}.") from e
    if not isinstance(message, dict):
        raise BadFrame("A frame is no JSON object.")
    return message


class Decoder:
    """Messages out of a stream of bytes that arrives in any pieces. Holds at most one unfinished frame."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The messages that are whole now. Raises BadFrame; nothing more can be read after that."""
        self._kept += data
        while len(self._kept) >= LENGTH_BYTES:
            end = LENGTH_BYTES + length(bytes(self._kept[:LENGTH_BYTES]))
            if len(self._kept) < end:
                return
            frame = bytes(self._kept[LENGTH_BYTES:end])
            del self._kept[:end]
            yield parse(frame)
