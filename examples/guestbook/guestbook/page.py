"""What the guestbook shows."""

from __future__ import annotations

SHOWN = 5


def render(version: str, visits: list[str]) -> str:
    """The last visits, then one line that sums up."""
    lines = [f"  {number}. {guest}" for number, guest in enumerate(visits, 1)][-SHOWN:]
    return "\n".join([*lines, f"guestbook {version}: {counted(visits)} so far"])


def counted(visits: list[str]) -> str:
    return "1 visit" if len(visits) == 1 else f"{len(visits)} visits"
