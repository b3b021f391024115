"""A Python that can be put anywhere: executable, standard library and the shared libraries both need.

Taken from an installed CPython on Linux. Shared libraries come along, all but those of the C library, and
are found through a relative run path, so that the folder works wherever it lies. The C library stays the
machine's: what is built here runs on machines whose glibc is as new, or newer.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pearrt.errors import UserError

# glibc's own, and the loader: never carried from one machine to another.
_GLIBC = re.compile(
    r"(linux-vdso|ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util|nsl|anl|crypt|nss_.*|BrokenLocale|mvec))\.so.*"
)
_LEFT_OUT = (
    *("__pycache__", "*.pyc", "*.a", "config-*", "dist-packages", "site-packages", "EXTERNALLY-MANAGED"),
    *("ensurepip", "idlelib", "lib2to3", "pydoc_data", "sitecustomize.py", "test", "tests"),
    *("tkinter", "_tkinter*", "turtle.py", "turtledemo"),
)
_ASK = """
import json, os, sys, sysconfig
name = sysconfig.get_config_var("INSTSONAME") or ""
places = [sysconfig.get_config_var("LIBDIR"), "/usr/lib/" + (sysconfig.get_config_var("MULTIARCH") or "")]
shared = "libpython%d.%d.so.1.0" % sys.version_info[:2]
print(json.dumps({
    "version": "%d.%d" % sys.version_info[:2],
    "executable": os.path.realpath(sys._base_executable),
    "stdlib": sysconfig.get_path("stdlib"),
    "shared": any(os.path.exists(os.path.join(place, shared)) for place in places if place),
}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An installed CPython. `shared`: whether its libpython is there as a shared library, as PyInstaller
    needs."""

    version: str
    executable: Path
    stdlib: Path
    shared: bool


def inspect(python: str) -> Interpreter:
    """What `python` says of itself. Raises UserError when it does not run."""
    try:
        done = subprocess.run([python, "-I", "-c", _ASK], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as e:
        raise UserError(f"{python} does not run: {e}.") from e
    said = json.loads(done.stdout)
    return Interpreter(said["version"], Path(said["executable"]), Path(said["stdlib"]), said["shared"])


def copy_interpreter(interpreter: Interpreter, folder: Path, patchelf: Path) -> None:
    """Makes `folder` a prefix: bin/python3, lib/python3.X, lib/*.so. `patchelf` is that program."""
    name = f"python{interpreter.version}"
    (folder / "bin").mkdir(parents=True)
    shutil.copyfile(interpreter.executable, folder / "bin/python3")
    (folder / "bin/python3").chmod(0o755)
    library = folder / "lib" / name
    shutil.copytree(interpreter.stdlib, library, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    extensions = sorted((library / "lib-dynload").glob("*.so"))
    carried = sorted(_needed([folder / "bin/python3", *extensions]))
    for shared in carried:
        shutil.copyfile(shared, folder / "lib" / shared.name)
    _copy_licences([interpreter.executable, *carried], folder / "licenses")
    for path in (folder / "lib").glob("*.so*"):
        _set_run_path(patchelf, path, "$ORIGIN")
    for path in extensions:
        _set_run_path(patchelf, path, "$ORIGIN/../..")
    _set_run_path(patchelf, folder / "bin/python3", "$ORIGIN/../lib")


def _needed(binaries: Iterable[Path]) -> Iterator[Path]:
    """Shared libraries that the loader would take for them, theirs too, without the C library's."""
    seen: set[str] = set()
    for binary in binaries:
        done = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=True)
        for line in done.stdout.splitlines():
            name, arrow, rest = line.strip().partition(" => ")
            if not arrow or _GLIBC.fullmatch(name) or name in seen:
                continue
            if rest.startswith("not found"):
                raise UserError(f"{binary.name} needs {name}, which is not here.")
            seen.add(name)
            yield Path(rest.split(" (")[0]).parent / name


def _copy_licences(files: Iterable[Path], folder: Path) -> None:
    """What Debian says of the packages that these files are from; other Pythons bring LICENSE.txt along."""
    folder.mkdir()
    for path in files:
        done = subprocess.run(
            ["dpkg-query", "-S", str(path.resolve())], capture_output=True, text=True, check=False
        )
        package = done.stdout.partition(":")[0]
        text = Path("/usr/share/doc") / package / "copyright"
        if done.returncode == 0 and text.is_file():
            shutil.copyfile(text, folder / f"{package}.txt")


def _set_run_path(patchelf: Path, path: Path, run_path: str) -> None:
    subprocess.run([str(patchelf), "--set-rpath", run_path, str(path)], check=True, capture_output=True)
