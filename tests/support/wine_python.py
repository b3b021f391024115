"""A CPython for Windows, made of packages, to run pearrt under Wine:
`python -m tests.support.wine_python FOLDER`.

No package is a whole Windows interpreter. But the wheel of panda3d brings the DLL of one and the standard
library's extension modules, this machine's own standard library has the rest in Python, and a program that
calls Py_Main is two lines. Needed beside it: the same minor version here, Debian's `wine64` and
`gcc-mingw-w64-x86-64`. Two DLLs are made here, because Wine or the wheel has none: `python3.dll`, which
forwards to the interpreter's, and `bcryptprimitives.dll`, random numbers for wasmtime.

It is Windows' CPython and Windows' wasmtime on another kernel: what runs there says much about pearrt's code,
and nothing about what Windows itself would let through.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

COMPILER, OBJDUMP = "x86_64-w64-mingw32-gcc", "x86_64-w64-mingw32-objdump"
WINE_PLACES = ("/usr/lib/wine/wine64", "/usr/bin/wine64")
PACKAGES = (
    "wasmtime",
    "pynacl",
    "aiohttp",
    "zstandard",
    "platformdirs",
    "click",
    "colorama",
    "zeroconf",
    "rich",
)
MAIN = """#include <wchar.h>
__declspec(dllimport) int Py_Main(int, wchar_t **);
int wmain(int argc, wchar_t **argv) { return Py_Main(argc, argv); }
"""
RANDOM = """#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE p, SIZE_T n) { return SystemFunction036(p, (ULONG)n); }
"""


def wine() -> str:
    """The 64-bit Wine of this machine; "" where there is none."""
    return next((path for path in WINE_PLACES if os.access(path, os.X_OK)), "")


def environment(prefix: Path, **settings: str) -> dict[str, str]:
    """What a Windows program is started with; `prefix` is Wine's own folder."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    quiet = {"WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree,mshtml="}
    return {**kept, **quiet, "WINEPREFIX": str(prefix), **settings}


def windows_path(path: Path) -> str:
    """The same file as Wine names it."""
    return "Z:" + str(path).replace("/", "\\")


def make(folder: Path) -> Path:
    """Puts a `python.exe` with pearrt's dependencies into `folder`; gives its path."""
    wheels, library, modules = folder / "wheels", folder / "Lib", folder / "DLLs"
    _download(wheels, "--no-deps", "panda3d")
    _download(wheels, *PACKAGES)
    standard = Path(os.__file__).parent
    left_out = shutil.ignore_patterns("lib-dynload", "__pycache__", "site-packages", "test", "config-3*")
    shutil.copytree(standard, library, ignore=left_out, symlinks=False)
    modules.mkdir()
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            if not wheel.name.startswith("panda3d"):
                archive.extractall(library / "site-packages")
                continue
            for name in (name for name in archive.namelist() if name.startswith("deploy_libs/")):
                base = name.rpartition("/")[2]
                if not base.startswith("api-ms"):
                    beside = base.lower().startswith(("python", "vcruntime"))
                    (folder if beside else modules).joinpath(base).write_bytes(archive.read(name))
    _compile(folder)
    return folder / "python.exe"


def _download(wheels: Path, *what: str) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    target = ["--only-binary=:all:", "--platform", "win_amd64", "--python-version", version]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", *target, "-d", str(wheels), *what], check=True
    )


def _compile(folder: Path) -> None:
    library = f"python{sys.version_info.major}{sys.version_info.minor}"
    table = subprocess.run(
        [OBJDUMP, "-p", f"{library}.dll"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.partition("[Ordinal/Name Pointer] Table")[2]
    names = re.findall(r"^\s*\[\s*\d+\].*?\s(\w+)\s*$", table, re.MULTILINE)
    forwards = "".join(f"  {name} = {library}.{name}\n" for name in names)
    (folder / "python3.def").write_text(f"LIBRARY python3.dll\nEXPORTS\n{forwards}")
    for name, text in (("main.c", MAIN), ("random.c", RANDOM), ("empty.c", "\n")):
        (folder / name).write_text(text)
    for arguments in (
        ["-municode", "-o", "python.exe", "main.c", f"{library}.dll"],
        ["-shared", "-o", "bcryptprimitives.dll", "random.c", "-ladvapi32"],
        ["-shared", "-nostdlib", "-Wl,-e,0", "-o", "python3.dll", "empty.c", "python3.def"],
    ):
        subprocess.run([COMPILER, "-O1", *arguments], cwd=folder, check=True)


if __name__ == "__main__":
    sys.stdout.write(f"PEARRT_TEST_WINE_PYTHON={make(Path(sys.argv[1]).absolute())}\n")
