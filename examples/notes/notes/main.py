"""notes add TEXT · list · remind SECONDS · about · stay

`stay` waits for an update and starts itself again in it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from pearrt import sdk


def main() -> int:
    command, *words = sdk.args.argv() or ("list",)
    known = COMMANDS.get(command)
    if known is None:
        print(__doc__, end="", file=sys.stderr)
        return 2
    try:
        return known(words)
    except sdk.Error as e:  # what pearrt says is written for people
        print(f"{e} {e.hint}".rstrip(), file=sys.stderr)
        return 1


def add(words: Sequence[str]) -> int:
    with (sdk.storage.path() / "notes.txt").open("a", encoding="utf-8") as file:
        file.write(" ".join(" ".join(words).split()) + "\n")
    sdk.log.info("a note was added")
    return listed(())


def listed(_: Sequence[str]) -> int:
    file = sdk.storage.path() / "notes.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    for number, line in enumerate(lines, 1):
        print(f"{number}. {line}")
    return 0


def remind(words: Sequence[str]) -> int:
    time.sleep(float(words[0]) if words else 60.0)
    sdk.notify("notes", "There is something that you wrote down.")
    return 0


def about(_: Sequence[str]) -> int:
    info, usage, status = sdk.app.info(), sdk.storage.usage(), sdk.updates.status()
    print(f"{info.name} {info.version}, may {', '.join(info.permissions) or 'do nothing special'}")
    print(f"keeps {usage.used_bytes} of {usage.quota_bytes} bytes")
    print(f"newer: {status.ready.version if status.ready else 'nothing'}")
    return 0


def stay(_: Sequence[str]) -> int:
    print(f"staying as {sdk.app.info().version}", flush=True)
    for update in sdk.updates.ready():
        if update.widens:
            print(f"{update.version} asks for more: it waits for your yes", flush=True)
            continue
        print(f"going on as {update.version}{', a security release' if update.security else ''}", flush=True)
        sdk.updates.restart()
        return 0
    return 0


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "add": add,
    "list": listed,
    "remind": remind,
    "about": about,
    "stay": stay,
}
