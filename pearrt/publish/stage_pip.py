"""Packages and their dependencies as a plain folder, by way of pip: wheels only, nothing is built or run.

What pip leaves behind and would differ from machine to machine goes: scripts with an interpreter's path
(`bin/`), compiled files, RECORD, INSTALLER, REQUESTED and direct_url.json.
"""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from pearrt.errors import UserError
from pearrt.platform_tag import platform_tag
from pearrt.publish.stage_tags import Support, join, support_of

PIP_TIMEOUT_S = 1800
_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:\[[A-Za-z0-9._, -]+\])?==[A-Za-z0-9.+!_-]+"
)
_MACHINE_FILES = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
# Settings that would send the files elsewhere than into our folder.
_PIP_PLACES = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIRE_VIRTUALENV", "PIP_DRY_RUN", "PYTHONPATH")


@dataclass(frozen=True, slots=True)
class Pin:
    """NAME==VERSION."""

    name: str


@dataclass(frozen=True, slots=True)
class Distribution:
    """One installed package: `scripts` maps console scripts to module:function."""

    name: str
    version: str
    scripts: dict[str, str]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Installed:
    """All packages in a folder and where they run."""

    distributions: tuple[Distribution, ...]
    support: Support

    def distribution(self, name: str) -> Distribution:
        """The package of that name, however it is spelled. Raises UserError."""
        for found in self.distributions:
            if normal_name(found.name) == normal_name(name):
                return found
        raise UserError(f"pip installed no package named {name}.")


def parse_pin(requirement: str) -> Pin:
    """Raises UserError for anything but NAME==VERSION, extras allowed."""
    match = _PIN.fullmatch(requirement.strip())
    if not match:
        raise UserError(
            f"{requirement!r} does not name one version of a package.", hint="Write it as NAME==VERSION."
        )
    return Pin(match["name"])


def install(requirements: Sequence[str], target: Path, *, pure: bool = False) -> Installed:
    """Puts the packages and what they depend on into the new folder `target`, cleaned.

    Raises UserError when pip is missing or cannot do it.
    """
    for requirement in requirements:
        if requirement.lstrip().startswith("-"):
            raise UserError(f"{requirement!r} is an option, not a requirement.")
    _run_pip(requirements, target, pure)
    _clean(target)
    found = tuple(_distributions(target))
    support = support_of((each.tags for each in found), platform_tag())
    major, minor = sys.version_info[:2]
    # pip chose dependencies for this Python: on an older one a package could be missing.
    return Installed(found, Support(support.platform, join(f">={major}.{minor}", support.requires_python)))


def _run_pip(requirements: Sequence[str], target: Path, pure: bool) -> None:
    if importlib.util.find_spec("pip") is None:
        raise UserError(
            "Staging packages needs pip, and this Python has none.",
            hint=f"{sys.executable} -m ensurepip --upgrade",
        )
    command = [sys.executable, "-I", "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["install", "--target", str(target), "--only-binary=:all:", "--no-compile"]
    if pure:
        command += ["--platform=any", "--implementation=py", "--abi=none"]
        command += [f"--python-version={sys.version_info[0]}.{sys.version_info[1]}"]
    environ = {key: value for key, value in os.environ.items() if key not in _PIP_PLACES} | {"PIP_USER": "0"}
    try:
        done = subprocess.run(
            [*command, "--", *requirements],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PIP_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        raise UserError(f"pip did not finish: {e}.") from e
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [
            done.stderr.strip()
        ]
        raise UserError(
            f"pip cannot install {' '.join(requirements)}: {said[-1].removeprefix('ERROR: ')[:300]}",
            hint="Only wheels are taken: look whether there is one for this Python and platform.",
        )


def _clean(target: Path) -> None:
    shutil.rmtree(target / "bin", ignore_errors=True)
    shutil.rmtree(target / "Scripts", ignore_errors=True)
    for cache in list(target.rglob("__pycache__")):
        shutil.rmtree(cache)
    for info in target.glob("*.dist-info"):
        for name in _MACHINE_FILES:
            (info / name).unlink(missing_ok=True)
    for stray in list(target.rglob("*.pyc")):
        stray.unlink()


def _distributions(target: Path) -> Iterator[Distribution]:
    for info in sorted(target.glob("*.dist-info")):
        metadata = HeaderParser().parsestr(_text(info / "METADATA"), headersonly=True)
        wheel = HeaderParser().parsestr(_text(info / "WHEEL"), headersonly=True)
        yield Distribution(
            name=metadata.get("Name", ""),
            version=metadata.get("Version", ""),
            scripts=_console_scripts(_text(info / "entry_points.txt")),
            tags=tuple(wheel.get_all("Tag", [])),
        )


def _console_scripts(text: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(delimiters=("=",), strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    try:
        parser.read_string(text)
    except configparser.Error as e:
        raise UserError(f"A package's entry_points.txt cannot be read: {e}.") from e
    if not parser.has_section("console_scripts"):
        return {}
    return {name: target.split("[")[0].strip() for name, target in parser.items("console_scripts")}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def normal_name(name: str) -> str:
    """The normalised form of a project's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
