"""Canonical JSON, the form in which TUF metadata is hashed and signed (TUF 1.0.34, section 4.1; OLPC rules).

Encoding: UTF-8, keys sorted, no white space, only the quotation mark and the backslash escaped, no floats.
Parsing is strict and bounded: it refuses duplicate keys, NaN and floats, integers past 2^53, lone surrogates,
byte-order marks and deep nesting.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from pearrt.errors import LimitExceeded, ProtocolViolation

MAX_DEPTH = 16
MAX_INT = 2**53 - 1
MAX_INT_DIGITS = 16

# A string, or an unfinished one up to the end. Possessive and never failing: linear time whatever the input.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_CONTROL = re.compile(rb"[\x00-\x1f]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


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


def as_json(canonical: bytes) -> bytes:
    """Canonical JSON as plain JSON, which `parse` reads: control characters, raw there, are escaped."""
    return _CONTROL.sub(lambda match: b"\\u%04x" % match[0][0], canonical)


def parse(data: bytes, *, max_bytes: int) -> Any:
    """The JSON value in `data`, parsed under the bounds above.

    Raises LimitExceeded past `max_bytes` or MAX_DEPTH, ProtocolViolation for malformed or ambiguous text.
    """
    if len(data) > max_bytes:
        raise LimitExceeded(f"JSON: {len(data)} bytes, at most {max_bytes} allowed")
    _check_depth(data)
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except (ValueError, RecursionError) as e:
        raise ProtocolViolation(f"JSON: {e}") from e
    if _SURROGATE_ESCAPE.search(data):
        encode(value)  # pairs make one character, which is fine; a lone one raises
    return value


def _check_depth(data: bytes) -> None:
    """Bounds nesting before the recursive parser sees it; brackets inside strings do not count.

    An unfinished string hides nothing: the parser stops there, after brackets that were all counted.
    """
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _STRING.sub(b"", data).translate(None, _NO_BRACKETS):
        if bracket in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise LimitExceeded(f"JSON: nested deeper than {MAX_DEPTH}")
        else:
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
