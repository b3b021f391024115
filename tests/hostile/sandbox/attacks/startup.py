"""The next start: what is left behind, or given along, so that it runs before the doors are closed."""

from __future__ import annotations

import os
import subprocess
import sys

from attacks.harness import attack, refuse

PLANTED = "print('planted')\n"


def _started(cwd: str, code: str = "pass", **environ: str) -> object:
    """What an interpreter says that is started like the next one would be."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env={**os.environ, **environ}, capture_output=True, text=True,
        timeout=8, check=False,
    )  # fmt: skip
    return "planted" in done.stdout or refuse("did not run")


@attack
def leave_a_module_that_shadows_the_standard_library(t: dict) -> object:
    path = os.path.join(t["data"], "colorsys.py")
    with open(path, "w") as file:
        file.write(PLANTED)
    try:
        return _started(t["data"], "import colorsys")
    finally:
        os.unlink(path)


@attack
def leave_a_path_file_in_the_home_folder(t: dict) -> object:
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    folder = os.path.join(t["data"], ".local", "lib", version, "site-packages")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "planted.pth"), "w") as file:
        file.write(f"import sys; {PLANTED}")
    try:
        return _started("/", HOME=t["data"])
    finally:
        os.unlink(os.path.join(folder, "planted.pth"))


@attack
def leave_a_module_beside_the_interpreters(t: dict) -> object:
    folder = os.path.dirname(os.__file__)
    path = os.path.join(folder, f".planted-{os.getpid()}.py")
    open(path, "x").close()
    os.unlink(path)
    return path


@attack
def be_given_settings_of_the_interpreter(t: dict) -> object:
    """As a program that the person ran before could have left in their environment."""
    names = ("PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONBREAKPOINT", "LD_LIBRARY_PATH", "BASH_ENV", "ENV")
    return [name for name in names if os.environ.get(name) == t["planted"]] or refuse("none given")


@attack
def change_the_compiled_standard_library(t: dict) -> object:
    import json

    with open(json.__cached__, "r+b"):
        return json.__cached__
