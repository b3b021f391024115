"""Canonical JSON, the form in which TUF metadata is hashed and signed (TUF spec 1.0.34, section 4.1; OLPC rules).

Encoding: UTF-8, keys sorted, no white space, only `\"` and `\\\\` escaped, no floats. Parsing is strict and bounded:
duplicate keys, NaN and floats, integers past 2^53, lone surrogates, byte-order marks and deep nesting are refused.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from pearrt.errors import LimitExceeded, ProtocolViolation

MAX_DEPTH = 16
MAX_INT = 2**53 - 1
MAX_INT_DIGITS = 16


def encode(value: Any) -> bytes:
    """Canonical JSON bytes of str, int, bool, None, list and dict. Raises TypeError for anything else."""
    out: list[str] = []
    _write(value, out)
    try:
        return "".join(out).encode()
    except UnicodeEncodeError as e:
        raise ProtocolViolation("JSON: lone surrogate in a string") from e


def _write(value: Any, out: list[str]) -> None:
    if isinstance(value, str):
        out.append('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"')
    elif value is True:
        out.append("true")
    elif value is False:
        out.append("false")
    elif value is None:
        out.append("null")
    elif isinstance(value, int):
        out.append(str(value))
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            out.append("," if position else "[")
            _write(item, out)
        out.append("]" if value else "[]")
    elif isinstance(value, dict):
        for position, key in enumerate(sorted(value)):
            if not isinstance(key, str):
                raise TypeError("JSON keys are strings")
            out.append("," if position else "{")
            _write(key, out)
            out.append(":")
            _write(value[key], out)
        out.append("}" if value else "{}")
    else:
        raise TypeError(f"canonical JSON cannot hold {type(value).__name__}")


def parse(data: bytes, *, max_bytes: int, max_depth: int = MAX_DEPTH) -> Any:
    """The JSON value in `data`, parsed under the bounds above.

    Raises LimitExceeded past `max_bytes` or `max_depth`, ProtocolViolation for anything malformed or ambiguous.
    """
    if len(data) > max_bytes:
        raise LimitExceeded(f"JSON: {len(data)} bytes, at most {max_bytes} allowed")
    _check_depth(data, max_depth)
    try:
        text = data.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
        text.encode()
        encode(value)  # refuses lone surrogates that came in as \ud800 escapes
    except (UnicodeError, ValueError, RecursionError) as e:
        raise ProtocolViolation(f"JSON: {e}") from e
    return value


def _check_depth(data: bytes, max_depth: int) -> None:
    """Bounds nesting before the recursive parser sees it; brackets inside strings do not count."""
    depth = 0
    in_string = escaped = False
    for byte in data:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in (0x5B, 0x7B):
            depth += 1
            if depth > max_depth:
                raise LimitExceeded(f"JSON: nested deeper than {max_depth}")
        elif byte in (0x5D, 0x7D):
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ProtocolViolation("JSON: a key stands twice in one object")
    return result


def _integer(digits: str) -> int:
    if len(digits) > MAX_INT_DIGITS + 1 or not -MAX_INT <= int(digits) <= MAX_INT:
        raise ProtocolViolation("JSON: an integer past 2^53")
    return int(digits)


def _refuse_number(text: str) -> NoReturn:
    raise ProtocolViolation(f"JSON: number {text[:20]} is not an integer")
