"""Bencode (BEP 3): the encoding of DHT messages, bundle indexes and small peer messages.

Values are int, bytes, list and dict with bytes keys; nothing else exists. Encoding is canonical: dict keys
are sorted, integers have no leading zero. Decoding is bounded in depth and item count. It is strict by
default and refuses every text that `encode` would not have produced, so that equal values have equal bytes;
the DHT passes `strict=False`, which admits unsorted dict keys (seen in the wild) and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any, TypeAlias

from pearrt.errors import LimitExceeded, ProtocolViolation

# Any: a recursive alias would have to be unpacked by casts at every use; `read.py`-style checks narrow
# instead.
Value: TypeAlias = Any

MAX_DEPTH = 16
MAX_ITEMS = 100_000
MAX_INT_DIGITS = 20


def encode(value: Value) -> bytes:
    """Canonical bencoding of `value`. str is encoded as UTF-8. Raises TypeError for other types."""
    out: list[bytes] = []
    _write(value, out.append)
    return b"".join(out)


def _write(value: Value, put: Callable[[bytes], None]) -> None:
    kind = type(value)
    if kind is bytes:
        put(b"%d:%b" % (len(value), value))
    elif kind is int:
        put(b"i%de" % value)
    elif kind is dict:
        put(b"d")
        for key, item in _sorted_items(value):
            name = key if type(key) is bytes else _bytes_key(key)
            if type(item) is bytes:  # most of what there is, written without another call
                put(b"%d:%b%d:%b" % (len(name), name, len(item), item))
            else:
                put(b"%d:%b" % (len(name), name))
                _write(item, put)
        put(b"e")
    elif kind is list or kind is tuple:
        put(b"l")
        for item in value:
            _write(item, put)
        put(b"e")
    else:
        _write(_plain(value), put)


def _sorted_items(value: dict[Value, Value]) -> list[tuple[Value, Value]]:
    try:
        return sorted(value.items(), key=_first)  # str sorts by code points as its UTF-8 does by bytes
    except TypeError:  # keys of both types
        return sorted(((_bytes_key(key), item) for key, item in value.items()), key=_first)


_first = itemgetter(0)


def _bytes_key(key: Value) -> bytes:
    if isinstance(key, str):
        return key.encode()
    if isinstance(key, bytes):
        return key
    raise TypeError(f"bencode: a dict key is no {type(key).__name__}")


def _plain(value: Value) -> Value:
    """The built-in twin of a value that bencode can hold in another guise."""
    if isinstance(value, bool):
        raise TypeError("bencode has no bool: use 0 or 1")
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, list | tuple):
        return list(value)
    raise TypeError(f"bencode cannot hold {type(value).__name__}")


def decode(
    data: bytes, *, max_depth: int = MAX_DEPTH, max_items: int = MAX_ITEMS, strict: bool = True
) -> Value:
    """The one value that `data` holds.

    Raises ProtocolViolation for malformed, non-canonical (when strict) or trailing bytes, LimitExceeded for
    more than `max_depth` levels or `max_items` items.
    """
    reader = _Reader(data, max_depth, max_items, strict)
    try:
        value = reader.value(0)
    except IndexError as e:
        raise ProtocolViolation("bencode: the text ends too early") from e
    if reader.at != len(data):
        raise ProtocolViolation(f"bencode: {len(data) - reader.at} bytes after the value")
    return value


_COLON, _ZERO, _NINE, _END, _DICT, _INT, _LIST = b":09edil"


class _Reader:
    """Parses one text from left to right; `at` is the next byte. Reading past the end raises IndexError."""

    __slots__ = ("at", "data", "items_left", "max_depth", "strict")

    def __init__(self, data: bytes, max_depth: int, max_items: int, strict: bool) -> None:
        self.data = bytes(data)
        self.at = 0
        self.items_left = max_items
        self.max_depth = max_depth
        self.strict = strict

    def value(self, depth: int) -> Value:
        self.items_left -= 1
        if self.items_left < 0:
            raise LimitExceeded("bencode: too many items")
        lead = self.data[self.at]
        if _ZERO <= lead <= _NINE:
            return self.string()
        if depth >= self.max_depth and lead in (_LIST, _DICT):
            raise LimitExceeded(f"bencode: nested deeper than {self.max_depth}")
        self.at += 1
        if lead == _DICT:
            return self.dictionary(depth + 1)
        if lead == _INT:
            return self.integer(b"e")
        if lead == _LIST:
            return self.items(depth + 1)
        raise ProtocolViolation(f"bencode: no value starts at byte {self.at - 1}")

    def integer(self, end: bytes) -> int:
        at = self.at
        stop = self.data.find(end, at, at + MAX_INT_DIGITS + 2)
        if stop < 0:
            raise ProtocolViolation(f"bencode: unfinished or overlong number at byte {at}")
        digits = self.data[at:stop]
        body = digits[1:] if digits[:1] == b"-" else digits
        if not body.isdigit() or (body[:1] == b"0" and digits != b"0"):
            raise ProtocolViolation(f"bencode: bad number at byte {at}")
        self.at = stop + 1
        return int(digits)

    def string(self) -> bytes:
        data, at = self.data, self.at
        tens, ones = data[at], data[at + 1]  # most lengths have one digit or two
        if ones == _COLON and _ZERO <= tens <= _NINE:
            start = at + 2
            end = start + tens - _ZERO
        elif data[at + 2] == _COLON and _ZERO < tens <= _NINE and _ZERO <= ones <= _NINE:
            start = at + 3
            end = start + 10 * (tens - _ZERO) + ones - _ZERO
        else:
            length = self.integer(b":")
            start = self.at
            end = start + length
        if not start <= end <= len(data):
            raise ProtocolViolation(f"bencode: string at byte {start} has an impossible length")
        self.at = end
        return data[start:end]

    def items(self, depth: int) -> list[Value]:
        result = []
        while self.data[self.at] != _END:
            result.append(self.value(depth))
        self.at += 1
        return result

    def dictionary(self, depth: int) -> dict[bytes, Value]:
        data, strict = self.data, self.strict
        result: dict[bytes, Value] = {}
        last: bytes | None = None
        while (lead := data[self.at]) != _END:
            if not _ZERO <= lead <= _NINE:
                raise ProtocolViolation(f"bencode: dict key at byte {self.at} is no string")
            key = self.string()
            if key in result or (strict and last is not None and key <= last):
                raise ProtocolViolation("bencode: dict keys repeat or are unsorted")
            last = key
            result[key] = self.value(depth)
        self.at += 1
        return result
