"""Versions of the runtime with the real starter and core, whose program says who it is and ends as it is
told, and what becomes of them when the launcher starts one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pearrt import runtime
from pearrt.runtime.layout import RuntimeFolder, launcher

PACKAGE = Path(runtime.__file__).parents[1]
PROGRAM = """
import errno, os, signal, sys
from pathlib import Path
name = Path(__file__).parents[2].name[0]
def main():
    print(name, *sys.argv[1:], flush=True)
    how = sys.argv[-1]
    if how == "crash":
        os._exit(9)
    if how == "bug":
        raise ExceptionGroup("tasks", [ValueError("no such day\\nmore")])
    if how == "full":
        raise ExceptionGroup("tasks", [OSError(errno.ENOSPC, "No space left on device")])
    if how == "lacking":
        import no_such_library
    if how == "stays":
        sys.stdin.read()
    if how.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, how))
    if how.startswith("exit"):
        sys.exit(int(how[4:]))
"""


def write_version(folder: RuntimeFolder, digest: str, *, broken: bool = False) -> None:
    """A tree with the real starter and core, and a program that says who it is."""
    tree = folder.tree(digest)
    package = tree / "pearrt"
    package.mkdir(parents=True)
    for name in ("store", "codec", "crypto"):
        (package / name).symlink_to(PACKAGE / name)
    for name in ("errors.py", "link.py", "atomic.py", "syncfs.py"):
        (package / name).symlink_to(PACKAGE / name)
    (package / "runtime").mkdir()
    for path in (PACKAGE / "runtime").glob("*.py"):
        (package / "runtime" / path.name).write_bytes(path.read_bytes())
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("from pearrt.cli.main import main\nmain()\n")
    (package / "cli").mkdir()
    (package / "cli" / "__init__.py").write_text("")
    (package / "cli" / "main.py").write_text("raise ImportError('half')\n" if broken else PROGRAM)


def started(folder: RuntimeFolder, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What becomes of the version that the launcher starts."""
    script = folder.data / "pearrt"
    script.write_text(launcher(folder.data, sys.executable))
    script.chmod(0o755)
    environ = {name: text for name, text in os.environ.items() if name != "PEARRT_HOME"}
    return subprocess.run([script, *arguments], env=environ, capture_output=True, text=True, check=False)


def start(folder: RuntimeFolder, *arguments: str) -> str:
    """What is said by the version that the launcher starts."""
    done = started(folder, *arguments)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]
