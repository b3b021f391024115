"""The first file of a version's tree that runs: `python -I -S …/pearrt/runtime/start.py MODULE ARGUMENT…`.

It puts its own tree on `sys.path` and runs MODULE as `python -m` would. With `--choose` in the place of
MODULE it first asks the state which version is to run, which counts the start of one on trial, and starts
that. A command of a version on trial whose program could be loaded is not counted against it; a daemon
speaks for itself. Of a confirmed version, a crash is noted down (`starts.py`).

A distribution's package has such a tree too (/usr/lib/pearrt), under no home: there is nothing to choose.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import runpy
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

TREE = Path(__file__).absolute().parents[2]
IS_VERSION = TREE.parent.name == "releases"
HOME = TREE.parents[3] if IS_VERSION else TREE
CHOOSE = "--choose"
PROGRAM = "pearrt"


def main() -> None:
    sys.path.insert(0, os.fspath(TREE))
    module, *arguments = sys.argv[1:] or [PROGRAM]
    if module == CHOOSE:
        module = PROGRAM
        _choose(arguments)
    if IS_VERSION and module == PROGRAM and arguments[:2] != ["daemon", "run"]:
        _loaded()
    sys.argv = [PROGRAM, *arguments]
    with _noting_a_crash(module, arguments):
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def _noting_a_crash(module: str, arguments: Sequence[str]) -> AbstractContextManager[None]:
    """Around all that this process does. The next daemon of a hand-over is watched by the one before it."""
    home = os.environ.get("PEARRT_HOME")
    if not IS_VERSION or (home and os.path.realpath(os.path.expanduser(home)) != os.path.realpath(HOME)):
        return contextlib.nullcontext()
    from pearrt.runtime import starts

    folder = HOME / "runtime" / "starts"
    if (module == "pearrt.daemon" and not arguments) or [module, *arguments[:2]] == [
        PROGRAM,
        "daemon",
        "run",
    ]:
        return starts.watched(folder, TREE.name)
    return starts.loading(folder, TREE.name) if module == PROGRAM else contextlib.nullcontext()


def _choose(arguments: list[str]) -> None:
    """Becomes the version that is to run; returns where that is this one."""
    from pearrt.errors import PearrtError
    from pearrt.runtime.layout import STARTER, RuntimeFolder, command

    try:
        chosen = RuntimeFolder(HOME).choose()
    except PearrtError as e:
        sys.exit(f"error: {e.message}\n  try: {e.hint}")
    for digest in dict.fromkeys((chosen.runs, chosen.current)):
        if digest == TREE.name:
            return
        if (TREE.parent / digest / STARTER).is_file():
            line = command(HOME, digest, arguments)
            os.execv(line[0], line)  # noqa: S606 - this process becomes it


def _loaded() -> None:
    """Takes back the count of this start, where this is the version on trial and its program loads."""
    from pearrt.errors import PearrtError
    from pearrt.runtime import state as states
    from pearrt.runtime.layout import RuntimeFolder

    folder = RuntimeFolder(HOME)
    try:
        if folder.read().trial == TREE.name:
            importlib.import_module("pearrt.cli.main")
            folder.edit(lambda state: states.uncount(state, TREE.name))
    except PearrtError:
        return  # the state is a matter for the program itself to complain about


if __name__ == "__main__":
    main()
