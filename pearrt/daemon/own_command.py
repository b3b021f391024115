"""How to start another part of this very pearrt, however it was installed: never one found elsewhere.

Installed by pip it is a module of this interpreter. A version's own tree, and a distribution's package, are
run by their starter, which is named again with the interpreter's options (`sys.orig_argv`). In a one-file
program the program itself takes the module's name.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

STARTER = "pearrt/runtime/start.py"
MODULE_OPTION = "--pearrt-module"  # of a one-file program, before anything else


def own_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs `module` as `python -m` would."""
    return [*_prefix(sys.orig_argv, frozen=getattr(sys, "frozen", False)), module, *arguments]


def _prefix(started_as: Sequence[str], *, frozen: bool) -> list[str]:
    if frozen:
        return [sys.executable, MODULE_OPTION]
    for number, argument in enumerate(started_as):
        if argument.replace("\\", "/").endswith(f"/{STARTER}"):
            return [sys.executable, *started_as[1 : number + 1]]
        if number and not argument.startswith("-") and started_as[number - 1] != "-X":
            break  # the program that was started; what follows are its arguments
    return [sys.executable, "-m"]
