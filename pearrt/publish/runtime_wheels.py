"""Fetching the wheels that the runtime's lock names, by way of pip, by package name and SHA-256."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pearrt.errors import DigestMismatch, UserError
from pearrt.publish.runtime_lock import BUILD, LockedWheel, RuntimeLock, Variant
from pearrt.publish.runtime_tree import read_wheel
from pearrt.publish.stage_pip import PIP_TIMEOUT_S


def fetch_wheels(lock: RuntimeLock, tag: str, folder: Path) -> int:
    """Brings the wheels of a variant, or of "build", into `folder`; those that are there and whole stay.

    Gives the number fetched. Raises UserError naming what pip could not get.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [wheel for wheel in lock.wheels_of(tag) if not _is_here(wheel, folder)]
    if wanted:
        _download(wanted, None if tag == BUILD else Variant.parse(tag), folder)
    for wheel in wanted:
        read_wheel(wheel, folder)
    return len(wanted)


def _is_here(wheel: LockedWheel, folder: Path) -> bool:
    try:
        return bool(read_wheel(wheel, folder))
    except DigestMismatch:
        (folder / wheel.file).unlink()
    except UserError:
        pass
    return False


def _download(wheels: list[LockedWheel], variant: Variant | None, folder: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise UserError(
            "Fetching wheels needs pip, and this Python has none.",
            hint=f"{sys.executable} -m ensurepip --upgrade, or put the wheels into {folder} yourself.",
        )
    command = [sys.executable, "-I", "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += [
        "--disable-pip-version-check",
        "--only-binary=:all:",
        "--require-hashes",
        "--dest",
        str(folder),
    ]
    if variant:
        command += ["--implementation=cp", f"--python-version={variant.python}"]
        command += [f"--platform={platform}" for platform in variant.wheel_platforms]
    with tempfile.TemporaryDirectory(prefix="pearrt-wheels-") as temporary:
        requirements = Path(temporary) / "requirements.txt"
        lines = [f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n" for wheel in wheels]
        requirements.write_text("".join(lines), encoding="utf-8")
        done = subprocess.run(
            [*command, "--requirement", str(requirements)],
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PIP_TIMEOUT_S,
            check=False,
        )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = (said or [done.stderr.strip() or "pip failed"])[-1].removeprefix("ERROR: ")[:300]
        raise UserError(
            f"Wheels for {variant.tag if variant else 'building'} cannot be had: {reason}",
            hint=f"Is an index set up for pip? Otherwise put the locked files into {folder}.",
        )
