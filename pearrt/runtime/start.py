"""The first file of a version's tree that runs: `python -I -S …/pearrt/runtime/start.py MODULE ARGUMENT…`.

It puts its own tree on `sys.path` and runs MODULE as `python -m` would. With `--choose` in the place of
MODULE it first asks the state which version is to run, and starts that. A crash is noted down (`starts.py`).

A distribution's package has such a tree too (/usr/lib/pearrt), under no home: there is nothing to choose.
"""

from __future__ import annotations

import contextlib
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
    sys.argv = [PROGRAM, *arguments]
    with contextlib.ExitStack() as noting:
        try:
            noting.enter_context(_noting_a_crash(module, arguments))
        except OSError:
            _become_confirmed(module, arguments)
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
        return starts.watched(folder, TREE.name, on_trial=_on_trial())
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


def _become_confirmed(module: str, arguments: list[str]) -> None:
    """On a full disk, say, a daemon on trial could not be counted: the confirmed version runs."""
    from pearrt.runtime.layout import RuntimeFolder, command

    line = command(HOME, RuntimeFolder(HOME).read().current, arguments, module=module)
    os.execv(line[0], line)  # noqa: S606 - this process becomes it


def _on_trial() -> bool:
    from pearrt.errors import PearrtError
    from pearrt.runtime.layout import RuntimeFolder

    try:
        return RuntimeFolder(HOME).read().trial == TREE.name
    except PearrtError:
        return False  # the state is a matter for the program itself to complain about


if __name__ == "__main__":
    main()
