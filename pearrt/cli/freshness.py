"""How current an app is, in words: the same ones wherever it is shown."""

from __future__ import annotations

import time

from pearrt.cli.output import ago


def freshness_text(
    state: str, confirmed_at: int, confirmed_by: int, newer_at: int | None, *, in_dht: bool = False
) -> str:
    """`fresh, last confirmed 3 h ago by 4 peers`. Times are Unix seconds, 0 for never."""
    text = state
    if confirmed_at:
        text += f", last confirmed {ago(time.time() - confirmed_at)} ago"
        sources = [f"{confirmed_by} peer{'' if confirmed_by == 1 else 's'}"] if confirmed_by else []
        sources += ["the DHT"] if in_dht else []
        text += f" by {' and '.join(sources)}" if sources else ""
    if newer_at:
        text += f"; a newer statement, made {ago(time.time() - newer_at)} ago, is known, but no peer gave it"
    return text
