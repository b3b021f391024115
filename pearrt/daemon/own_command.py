"""How to start another part of this very pearrt, however it was installed: never one found elsewhere.

Installed by pip it is a module of this interpreter. A version's own tree, a distribution's package and the
one-file program are run by their tree's starter, which is named again with the interpreter's options
(`sys.orig_argv`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

STARTER = "pearrt/runtime/start.py"


def own_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs `module` as `python -m` would."""
    return [*_prefix(sys.orig_argv), module, *arguments]


def _prefix(started_as: Sequence[str]) -> list[str]:
    for number, argument in enumerate(started_as):
        if argument.replace("\\", "/").endswith(f"/{STARTER}"):
            return [sys.executable, *started_as[1 : number + 1]]
        if number and not argument.startswith("-") and started_as[number - 1] != "-X":
            break  # the program that was started; what follows are its arguments
    return [sys.executable, "-m"]
