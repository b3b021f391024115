"""Hands things over without a server: what one puts in, who has its name gets out, from whoever keeps it.

pearrt run pearrt://… put < photo.jpg           prints a name
pearrt run pearrt://… get NAME > photo.jpg
pearrt run pearrt://… keep NAME                 gets it, and gives it on from here too
pearrt run pearrt://… drop NAME
pearrt run pearrt://… list                      how much is kept here
"""

from __future__ import annotations

import sys

from pearrt import sdk


def main() -> int | str:
    try:
        return serve(sdk.args.argv())
    except sdk.Error as e:
        return f"{e.message} {e.hint}"


def serve(words: tuple[str, ...]) -> int:
    match words:
        case ["put"]:
            print(sdk.shelf.put(sys.stdin.buffer.read()))
        case ["get", name]:
            sys.stdout.buffer.write(sdk.shelf.get(name))
        case ["keep", name]:
            print(f"{len(sdk.shelf.get(name, keep=True))} bytes are kept here too.")
        case ["drop", name]:
            print("It is no longer kept here." if sdk.shelf.drop(name) else "It was not kept here.")
        case ["list"]:
            usage = sdk.shelf.usage()
            print(f"{usage.used_bytes} of {usage.limit_bytes} bytes in {usage.blocks} blocks.")
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0
