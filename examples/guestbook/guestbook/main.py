"""Signs the guestbook and shows it. Arguments are the guest's name; without any it is somebody.

With `--stay` it stays open: each line of stdin is another guest, and each answer asks the daemon who we are,
which shows that it is there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from guestbook.book import Book, storage
from guestbook.page import counted, render


def main() -> int:
    version = (Path(__file__).parent.parent / "VERSION").read_text(encoding="utf-8").strip()
    book = Book(storage())
    if sys.argv[1:] == ["--stay"]:
        return stay(book)
    book.sign(" ".join(sys.argv[1:]) or "somebody")
    print(render(version, book.visits()), flush=True)
    return 0


def stay(book: Book) -> int:
    """Until stdin ends."""
    from pearrt import sdk

    for line in sys.stdin:
        book.sign(line)
        print(f"{sdk.app.info().name}: {counted(book.visits())}", flush=True)
    return 0
