"""What the person gave the app: arguments, and what the link carried beyond the key."""

from __future__ import annotations

import os
import sys


def argv() -> tuple[str, ...]:
    """The arguments after the link of `pearrt run`, those of the manifest's entry before them."""
    return tuple(sys.argv[1:])


def path() -> str:
    """The link's path, `a/b` of `pearrt://key/a/b`, or ""."""
    return os.environ.get("PEARRT_APP_LINK_PATH", "")


def fragment() -> str:
    """What stands after the link's `#`, or ""."""
    return os.environ.get("PEARRT_APP_LINK_FRAGMENT", "")
