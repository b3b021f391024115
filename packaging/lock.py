"""Writes packaging/runtime.lock: for every kind of machine the wheels that pearrt's dependencies come in.

    python packaging/lock.py                # all anew, the newest versions that pyproject.toml allows
    python packaging/lock.py --only rich    # one package anew, all else as locked
    python packaging/lock.py --keep         # the locked versions, for a matrix that grew

pip finds and downloads the wheels, by package name, from the index that it is set up for. pip judges
environment markers for the machine it runs on, so what each machine needs is worked out here, from the
wheels' own metadata. One version of a package serves all variants: the first variant's choice binds the
others. Exit code 1 when a variant could not be had; it is named, and left out of the lock.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from source import LOCK as LOCK_NAME
from source import ROOT

from pearrt.publish.runtime_lock import BUILD, MATRIX, LockedWheel, RuntimeLock, Variant

LOCK = ROOT / LOCK_NAME
ROUNDS = 8  # a marker's package may bring another one in; no real tree is deeper
_SYSTEM = {
    "linux": {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux"},
    "macos": {"os_name": "posix", "sys_platform": "darwin", "platform_system": "Darwin"},
    "windows": {"os_name": "nt", "sys_platform": "win32", "platform_system": "Windows"},
}


class Missing(Exception):
    """The index has no wheel that fits."""


def main() -> int:
    arguments = _arguments()
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    pins = _old_pins(arguments)
    locked: dict[str, tuple[LockedWheel, list[str]]] = {}
    missing = []
    wanted: list[tuple[Variant | None, list[str]]] = [(None, pyproject["build-system"]["requires"])]
    wanted += [(variant, pyproject["project"]["dependencies"]) for variant in MATRIX]
    with tempfile.TemporaryDirectory(prefix="pearrt-lock-") as folder:
        for variant, requirements in wanted:
            tag = variant.tag if variant else BUILD
            try:
                wheels = resolve(variant, requirements, pins, Path(folder) / tag)
            except Missing as e:
                missing.append(tag)
                print(f"{tag}: LEFT OUT: {e}", file=sys.stderr)
                continue
            print(f"{tag}: {len(wheels)} wheels, {sum(wheel.stat().st_size for wheel in wheels):,} bytes")
            for wheel in wheels:
                entry = _entry(wheel)
                locked.setdefault(entry.file, (entry, []))[1].append(tag)
                pins[entry.name] = entry.version
    lock = RuntimeLock.of(_with_variants(entry, tags) for entry, tags in locked.values())
    LOCK.write_text(lock.encode(), encoding="utf-8")
    print(f"{LOCK.relative_to(ROOT)}: {len(lock.wheels)} wheels for {len(lock.variants)} variants")
    if missing:
        print(f"LEFT OUT, no wheels: {', '.join(missing)}", file=sys.stderr)
    return 1 if missing else 0


def _arguments() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="renew this package alone"
    )
    parser.add_argument("--keep", action="store_true", help="renew nothing")
    return parser.parse_args()


def _old_pins(arguments: argparse.Namespace) -> dict[str, str]:
    if not (arguments.only or arguments.keep):
        return {}
    lock = RuntimeLock.parse(LOCK.read_text("utf-8"))
    renewed = {canonicalize_name(name) for name in arguments.only}
    return {wheel.name: wheel.version for wheel in lock.wheels if wheel.name not in renewed}


def resolve(
    variant: Variant | None, requirements: Sequence[str], pins: dict[str, str], folder: Path
) -> list[Path]:
    """The wheels that `requirements` need there, dependencies included. Raises Missing."""
    folder.mkdir()
    asked = list(requirements)
    for _ in range(ROUNDS):
        _pip_download(variant, asked, pins, folder)
        have = {str(parse_wheel_filename(path.name)[0]): path for path in folder.iterdir()}
        needed, absent = _closure(requirements, have, environment(variant))
        if not absent:
            return sorted(have[name] for name in needed)
        asked += absent
    raise Missing(f"after {ROUNDS} rounds still without {', '.join(absent)}")


def environment(variant: Variant | None) -> dict[str, str]:
    """Environment markers (PEP 508) there; for the build tools those of the oldest Python."""
    variant = variant or MATRIX[0]
    system, _, machine = variant.system.partition("-")
    return _SYSTEM[system] | {
        "python_version": variant.python,
        "python_full_version": f"{variant.python}.0",
        "platform_machine": "AMD64" if system == "windows" else machine,
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "implementation_version": f"{variant.python}.0",
        "platform_release": "",
        "platform_version": "",
        "extra": "",
    }


def _closure(
    requirements: Iterable[str], have: dict[str, Path], markers: dict[str, str]
) -> tuple[set[str], list[str]]:
    """Names that are needed, and requirements whose package pip did not bring."""
    needed: set[str] = set()
    absent: list[str] = []
    pending = [(Requirement(text), "") for text in requirements]
    done: set[tuple[str, str]] = set()
    while pending:
        requirement, extra = pending.pop()
        name = str(canonicalize_name(requirement.name))
        if requirement.marker and not requirement.marker.evaluate(markers | {"extra": extra}):
            continue
        if name not in have:
            requirement.marker = None
            absent.append(str(requirement))
            continue
        needed.add(name)
        for wanted in ("", *sorted(requirement.extras)):
            if (name, wanted) not in done:
                done.add((name, wanted))
                pending += [(inner, wanted) for inner in _requires(have[name])]
    return needed, absent


def _requires(wheel: Path) -> Iterator[Requirement]:
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(member).decode("utf-8"), headersonly=True)
    for text in metadata.get_all("Requires-Dist", []):
        yield Requirement(text)


def _pip_download(variant: Variant | None, asked: Sequence[str], pins: dict[str, str], folder: Path) -> None:
    for old in folder.iterdir():
        old.unlink()
    constraints = folder.with_suffix(".constraints")
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in sorted(pins.items())))
    command = [
        sys.executable,
        "-I",
        "-m",
        "pip",
        "download",
        "-q",
        "--no-input",
        "--disable-pip-version-check",
    ]
    command += ["--only-binary=:all:", "--dest", str(folder), "--constraint", str(constraints)]
    if variant:
        command += ["--implementation=cp", f"--python-version={variant.python}"]
        command += [f"--platform={tag}" for tag in variant.wheel_platforms]
    done = subprocess.run(
        [*command, "--", *asked], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise Missing((said or [done.stderr.strip() or "pip failed"])[-1].removeprefix("ERROR: "))


def _entry(wheel: Path) -> LockedWheel:
    name, version, *_ = parse_wheel_filename(wheel.name)
    data = wheel.read_bytes()
    return LockedWheel(str(name), str(version), wheel.name, len(data), hashlib.sha256(data).hexdigest(), ())


def _with_variants(entry: LockedWheel, tags: Iterable[str]) -> LockedWheel:
    return LockedWheel(entry.name, entry.version, entry.file, entry.size, entry.sha256, tuple(tags))


if __name__ == "__main__":
    sys.exit(main())
