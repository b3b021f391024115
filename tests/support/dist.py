"""The builders of `packaging/` for tests: a script there is run as `make dist` runs it, or imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pearrt.platform_tag import platform_tag
from pearrt.publish.runtime_lock import BUILD, RuntimeLock, Variant
from tests.support.require import missing

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
WHEELS = ROOT / "build" / "wheels"
THIS = f"{platform_tag()}-cp{sys.version_info[0]}{sys.version_info[1]}"


def locked_wheels() -> Path:
    """Where the locked wheels of this machine's variant lie, fetched by `make test`."""
    lock = RuntimeLock.parse((PACKAGING / "runtime.lock").read_text(encoding="utf-8"))
    for tag in (THIS, BUILD):
        if absent := [wheel.file for wheel in lock.wheels_of(tag) if not (WHEELS / wheel.file).is_file()]:
            missing(
                f"needs {len(absent)} wheels: python packaging/runtime_release.py --fetch-only --variant this"
            )
    return WHEELS


def this_variant() -> Variant:
    return Variant.parse(THIS)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What must not matter to a build."""

    umask: int = 0o022
    timezone: str = "UTC"
    locale: str = "C.UTF-8"


OTHER = Circumstances(umask=0o077, timezone="Pacific/Auckland", locale="C")


def run_script(
    script: str, *arguments: str, root: Path = ROOT, where: Circumstances | None = None, **environ: str
) -> str:
    """What a script of `root/packaging` printed; it must end with 0."""
    where = where or Circumstances()
    done = subprocess.run(
        [sys.executable, str(root / "packaging" / script), *arguments],
        env={**os.environ, "TZ": where.timezone, "LC_ALL": where.locale, **environ},
        umask=where.umask,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"{script} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def another_checkout(folder: Path) -> Path:
    """The same commit somewhere else, its files with the times and modes of now and of this umask; a copy
    where this is no git checkout."""
    if not (ROOT / ".git").exists():
        ignored = shutil.ignore_patterns(".venv", "build", "dist", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, folder, ignore=ignored)
        return folder
    command = ["git", "-c", f"safe.directory={ROOT / '.git'}", "-c", "safe.directory=*", "clone", "-q"]
    subprocess.run([*command, "--shared", str(ROOT), str(folder)], check=True, capture_output=True)
    return folder
