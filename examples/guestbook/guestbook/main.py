"""Signs the guestbook and shows it. Arguments are the guest's name; without any it is somebody."""

from __future__ import annotations

import sys
from pathlib import Path

from guestbook.book import Book, storage
from guestbook.page import render


def main() -> int:
    version = (Path(__file__).parent.parent / "VERSION").read_text(encoding="utf-8").strip()
    book = Book(storage())
    book.sign(" ".join(sys.argv[1:]) or "somebody")
    print(render(version, book.visits()), flush=True)
    return 0
