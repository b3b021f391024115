"""The apps' own logs: one bounded file per app, outside the sandbox, for the person to read.

Rules: an entry is one line of printable characters, so that no app can write escapes for a terminal or forge
another entry; the file is cut over at MAX_BYTES and one older file is kept.
"""

from __future__ import annotations

import time
from pathlib import Path

MAX_BYTES = 1 << 20


def write(path: Path, level: str, text: str) -> None:
    """Appends an entry. Raises OSError."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if path.exists() and path.stat().st_size > MAX_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    with path.open("a", encoding="utf-8", errors="replace") as file:
        file.write(f"{stamp} {level} {one_line(text)}\n")


def one_line(text: str) -> str:
    """`text` without what moves a terminal's cursor or changes a line's direction."""
    return "".join(
        letter if letter.isprintable() else {"\n": " | ", "\t": " "}.get(letter, "\ufffd") for letter in text
    )
