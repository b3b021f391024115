"""Bencode (BEP 3): the encoding of DHT messages, bundle indexes and small peer messages.

Values are int, bytes, list and dict with bytes keys; nothing else exists. Encoding is canonical: dict keys are
sorted, integers have no leading zero. Decoding is bounded in depth and item count. It is strict by default and
refuses every text that `encode` would not have produced, so that equal values have equal bytes; the DHT passes
`strict=False`, which admits unsorted dict keys (seen in the wild) and nothing else.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from pearrt.errors import LimitExceeded, ProtocolViolation

# Any: a recursive alias would have to be unpacked by casts at every use; `read.py`-style checks narrow instead.
Value: TypeAlias = Any

MAX_DEPTH = 16
MAX_ITEMS = 100_000
MAX_INT_DIGITS = 20


def encode(value: Value) -> bytes:
    """Canonical bencoding of `value`. str is encoded as UTF-8. Raises TypeError for other types."""
    out: list[bytes] = []
    _write(value, out)
    return b"".join(out)


def _write(value: Value, out: list[bytes]) -> None:
    if isinstance(value, bool):
        raise TypeError("bencode has no bool: use 0 or 1")
    if isinstance(value, int):
        out.append(b"i%de" % value)
    elif isinstance(value, str):
        _write(value.encode(), out)
    elif isinstance(value, bytes | bytearray | memoryview):
        out.append(b"%d:" % len(value))
        out.append(bytes(value))
    elif isinstance(value, list | tuple):
        out.append(b"l")
        for item in value:
            _write(item, out)
        out.append(b"e")
    elif isinstance(value, dict):
        out.append(b"d")
        keys = {key.encode() if isinstance(key, str) else key: item for key, item in value.items()}
        for key in sorted(keys):
            _write(key, out)
            _write(keys[key], out)
        out.append(b"e")
    else:
        raise TypeError(f"bencode cannot hold {type(value).__name__}")


def decode(
    data: bytes, *, max_depth: int = MAX_DEPTH, max_items: int = MAX_ITEMS, strict: bool = True
) -> Value:
    """The one value that `data` holds.

    Raises ProtocolViolation for malformed, non-canonical (when strict) or trailing bytes, LimitExceeded for
    more than `max_depth` levels or `max_items` items.
    """
    reader = _Reader(data, max_depth, max_items, strict)
    value = reader.value(0)
    if reader.at != len(data):
        raise ProtocolViolation(f"bencode: {len(data) - reader.at} bytes after the value")
    return value


class _Reader:
    __slots__ = ("at", "data", "items_left", "max_depth", "strict")

    def __init__(self, data: bytes, max_depth: int, max_items: int, strict: bool) -> None:
        self.data = data
        self.at = 0
        self.max_depth = max_depth
        self.items_left = max_items
        self.strict = strict

    def value(self, depth: int) -> Value:
        if depth > self.max_depth:
            raise LimitExceeded(f"bencode: nested deeper than {self.max_depth}")
        self.items_left -= 1
        if self.items_left < 0:
            raise LimitExceeded("bencode: too many items")
        lead = self.data[self.at : self.at + 1]
        if lead.isdigit():
            return self.string()
        self.at += 1
        if lead == b"i":
            return self.integer(b"e")
        if lead == b"l":
            return self.items(depth)
        if lead == b"d":
            return self.dictionary(depth)
        raise ProtocolViolation(f"bencode: no value starts at byte {self.at - 1}")

    def integer(self, end: bytes) -> int:
        stop = self.data.find(end, self.at, self.at + MAX_INT_DIGITS + 2)
        if stop < 0:
            raise ProtocolViolation(f"bencode: unfinished or overlong number at byte {self.at}")
        digits = self.data[self.at : stop]
        body = digits[1:] if digits[:1] == b"-" else digits
        if not body.isdigit() or (body[:1] == b"0" and digits != b"0"):
            raise ProtocolViolation(f"bencode: bad number at byte {self.at}")
        self.at = stop + 1
        return int(digits)

    def string(self) -> bytes:
        length = self.integer(b":")
        end = self.at + length
        if end > len(self.data):
            raise ProtocolViolation(f"bencode: string at byte {self.at} runs past the end")
        value = self.data[self.at : end]
        self.at = end
        return value

    def items(self, depth: int) -> list[Value]:
        result = []
        while self.data[self.at : self.at + 1] != b"e":
            result.append(self.value(depth + 1))
        self.at += 1
        return result

    def dictionary(self, depth: int) -> dict[bytes, Value]:
        result: dict[bytes, Value] = {}
        last: bytes | None = None
        while self.data[self.at : self.at + 1] != b"e":
            if not self.data[self.at : self.at + 1].isdigit():
                raise ProtocolViolation(f"bencode: dict key at byte {self.at} is no string")
            key = self.string()
            if key in result or (self.strict and last is not None and key <= last):
                raise ProtocolViolation("bencode: dict keys repeat or are unsorted")
            last = key
            result[key] = self.value(depth + 1)
        self.at += 1
        return result
