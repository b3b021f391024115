"""Reads the fields of parsed JSON: each is there, of one type, in one spelling, or ProtocolViolation names
it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from pearrt.errors import ProtocolViolation

HEX_16 = re.compile(r"[0-9a-f]{32}")
HEX_32 = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"([1-9][0-9]{3})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Shape:
    """One JSON object under inspection; `name` says in errors which."""

    __slots__ = ("name", "value")

    def __init__(self, value: Any, name: str) -> None:
        if not isinstance(value, dict):
            raise ProtocolViolation(f"{name} is no object")
        self.value: dict[str, Any] = value
        self.name = name

    def refuse(self, field: str, why: str) -> ProtocolViolation:
        return ProtocolViolation(f"{self.name}: `{field}` {why}")

    def only(self, *fields: str) -> None:
        """Refuses an object that lacks one of these fields or has another."""
        if self.value.keys() != set(fields):
            raise ProtocolViolation(f"{self.name} must have exactly the fields {', '.join(fields)}")

    def integer(self, field: str, least: int) -> int:
        value = self.value.get(field)
        if type(value) is not int or value < least:  # a bool is an int in Python, not in JSON
            raise self.refuse(field, f"is no integer of at least {least}")
        return value

    def match(self, field: str, pattern: re.Pattern[str]) -> str:
        """A string that the whole pattern fits."""
        value = self.value.get(field)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self.refuse(field, "is missing or misspelt")
        return value

    def words(self, field: str, max_chars: int, *, lines: bool = False) -> str:
        """A string that is safe to show: no control characters, terminal escapes or direction overrides."""
        value = self.value.get(field)
        if not isinstance(value, str) or len(value) > max_chars:
            raise self.refuse(field, f"is no text of at most {max_chars} characters")
        if not (value.replace("\n", "") if lines else value).isprintable():
            raise self.refuse(field, "holds characters that cannot be shown")
        return value

    def time(self, field: str) -> float:
        """Seconds since 1970, written as in `2030-01-31T23:59:59Z`."""
        match = _TIME.fullmatch(self.match(field, _TIME))
        assert match is not None
        try:
            moment = datetime(*map(int, match.groups()), tzinfo=UTC)  # type: ignore[arg-type,misc]
        except ValueError as e:
            raise self.refuse(field, f"is no time: {e}") from e
        return (moment - _EPOCH).total_seconds()

    def flag(self, field: str) -> bool:
        """True, or absent: a flag that is off is left out."""
        if field in self.value and self.value[field] is not True:
            raise self.refuse(field, "is something else than true")
        return field in self.value

    def object(self, field: str) -> Shape:
        return Shape(self.value.get(field), f"{self.name}: `{field}`")

    def objects(self, field: str, most: int, *fields: str) -> list[Shape]:
        """A list of at most `most` objects, each with exactly these fields."""
        value = self.value.get(field)
        if not isinstance(value, list) or len(value) > most:
            raise self.refuse(field, f"is no list of at most {most} objects")
        found = [Shape(item, f"{self.name}: `{field}`") for item in value]
        for each in found:
            each.only(*fields)
        return found

    def strings(self, field: str, pattern: re.Pattern[str], most: int) -> tuple[str, ...]:
        """A list of at most `most` strings, each of which the whole pattern fits."""
        value = self.value.get(field)
        if not isinstance(value, list) or len(value) > most:
            raise self.refuse(field, f"is no list of at most {most} strings")
        if not all(isinstance(item, str) and pattern.fullmatch(item) for item in value):
            raise self.refuse(field, "holds something misspelt")
        return tuple(value)


def time_text(seconds: float) -> str:
    """The one spelling of a time, cut to whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
