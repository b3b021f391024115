"""A chat without a server: whoever runs it with the same words as arguments is at the same table.

pearrt run pearrt://… the long table
"""

from __future__ import annotations

import sys
import threading

from pearrt import sdk

MAX_LINE = 500


def main() -> str | None:
    try:
        talk(" ".join(sdk.args.argv()) or "lobby")
    except sdk.Error as e:
        return f"{e.message} {e.hint}"
    return None


def talk(name: str) -> None:
    with sdk.p2p.join(name) as circle:
        print(
            f"You are at the table {shown(name)!r}. What you type is said to all; end with Ctrl-D.",
            flush=True,
        )
        threading.Thread(target=listen, args=[circle], daemon=True).start()
        for line in sys.stdin:
            if text := line.strip()[:MAX_LINE]:
                circle.send(text.encode())


def listen(circle: sdk.p2p.Circle) -> None:
    try:
        for heard in circle:
            who = heard.peer[:8]
            if isinstance(heard, sdk.p2p.Presence):
                print(f"* {who} has {'come' if heard.here else 'gone'}", flush=True)
            else:
                print(f"{who}: {shown(heard.data.decode(errors='replace'))[:MAX_LINE]}", flush=True)
    except sdk.Error as e:
        print(f"* {e}", flush=True)


def shown(text: str) -> str:
    """What comes from others is shown without escapes for the terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
