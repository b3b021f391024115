"""The runtime's lock file: which wheels make up each variant of a runtime release, by exact version and
SHA-256.

A variant is `<os>-<arch>-cp<XY>`: one system, one machine, one CPython. The file is TOML:

    format = 1
    [[wheel]]
    name = "aiohttp"
    version = "3.14.5"
    file = "aiohttp-3.14.5-cp311-cp311-win_amd64.whl"
    size = 463014
    sha256 = "…"
    variants = ["windows-amd64-cp311"]       # "build": a tool that builds pearrt's own wheel

One version of a package serves all variants, so that their pure Python files are the same files and are
stored once. Raises UserError for a file that breaks a rule: the lock is the publisher's own.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pearrt.errors import UserError

FORMAT = 1
BUILD = "build"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# glibc 2.28 and later: Debian 10, RHEL 8, Ubuntu 20.04. An older wheel tag runs on a newer glibc.
_GLIBC = (
    *(f"manylinux_2_{minor}" for minor in range(28, 16, -1)),
    "manylinux2014",
    "manylinux_2_12",
    "manylinux2010",
    "manylinux_2_5",
    "manylinux1",
)
SYSTEMS: dict[str, tuple[str, ...]] = {
    "linux-x86_64": tuple(f"{tag}_x86_64" for tag in _GLIBC),
    "linux-aarch64": tuple(f"{tag}_aarch64" for tag in _GLIBC[:13]),
    "macos-arm64": ("macosx_11_0_arm64", "macosx_11_0_universal2"),
    "windows-amd64": ("win_amd64",),
}
MAX_WHEEL_BYTES = 128 * 1024 * 1024

_TAG = re.compile(r"(?P<system>[a-z0-9]+-[a-z0-9_]+)-cp(?P<major>3)(?P<minor>\d+)")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*\.whl")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+!_-]*")


@dataclass(frozen=True, slots=True)
class Variant:
    """`system` is a key of SYSTEMS, `python` a version such as 3.11."""

    system: str
    python: str

    @classmethod
    def parse(cls, tag: str) -> Variant:
        """From `linux-x86_64-cp311`. Raises UserError."""
        match = _TAG.fullmatch(tag)
        if match is None or match["system"] not in SYSTEMS:
            raise UserError(
                f"{tag!r} names no kind of machine that the runtime is built for.",
                hint=f"Kinds: {', '.join(f'{system}-cp311' for system in SYSTEMS)}; CPython {PYTHONS[0]} on.",
            )
        return cls(match["system"], f"{match['major']}.{match['minor']}")

    @property
    def tag(self) -> str:
        return f"{self.system}-cp{self.python.replace('.', '')}"

    @property
    def wheel_platforms(self) -> tuple[str, ...]:
        """Platform tags of wheels that run there, best first."""
        return SYSTEMS[self.system]


MATRIX = tuple(Variant(system, python) for system in SYSTEMS for python in PYTHONS)


@dataclass(frozen=True, slots=True)
class LockedWheel:
    """One wheel: normalised name, exact file, bytes, SHA-256 in hex, the tags of the variants it is in."""

    name: str
    version: str
    file: str
    size: int
    sha256: str
    variants: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RuntimeLock:
    """All wheels, sorted by file name."""

    wheels: tuple[LockedWheel, ...]

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Those that the lock holds wheels for, in the order of MATRIX."""
        tags = {tag for wheel in self.wheels for tag in wheel.variants}
        return tuple(variant for variant in MATRIX if variant.tag in tags)

    def wheels_of(self, tag: str) -> tuple[LockedWheel, ...]:
        """The wheels of one variant, or of "build". Raises UserError when there are none."""
        found = tuple(wheel for wheel in self.wheels if tag in wheel.variants)
        if not found:
            raise UserError(
                f"The lock file has no wheels for {tag}.",
                hint=f"It has {', '.join(variant.tag for variant in self.variants)}.",
            )
        return found

    def encode(self) -> str:
        """The file's text; the same lock gives the same text."""
        head = f"# Written by packaging/lock.py: run it again, never edit.\nformat = {FORMAT}\n"
        return head + "".join(_entry(wheel) for wheel in self.wheels)

    @classmethod
    def parse(cls, text: str) -> RuntimeLock:
        """The inverse of `encode`. Raises UserError."""
        try:
            value = tomllib.loads(text)
        except tomllib.TOMLDecodeError as e:
            raise UserError(f"The lock file: {e}.") from e
        if value.pop("format", None) != FORMAT:
            raise UserError("The lock file has another format than this version reads.")
        entries = value.pop("wheel", [])
        if value or not isinstance(entries, list):
            raise UserError(f"The lock file has unknown keys: {', '.join(value) or 'wheel'}.")
        return cls.of(_wheel(entry) for entry in entries)

    @classmethod
    def of(cls, wheels: Iterable[LockedWheel]) -> RuntimeLock:
        """Sorted and checked: no file twice, no package twice in a variant, one version of each. Raises
        UserError."""
        ordered = tuple(sorted(wheels, key=lambda wheel: (wheel.file.lower(), wheel.file)))
        versions: dict[str, str] = {}
        seen: set[tuple[str, str]] = set()
        for wheel in ordered:
            if versions.setdefault(wheel.name, wheel.version) != wheel.version:
                raise UserError(f"The lock file has two versions of {wheel.name}.")
            for tag in wheel.variants:
                if (wheel.name, tag) in seen:
                    raise UserError(f"The lock file has two wheels of {wheel.name} for {tag}.")
                seen.add((wheel.name, tag))
        if len({wheel.file for wheel in ordered}) != len(ordered):
            raise UserError("The lock file names a wheel twice.")
        return cls(ordered)


def _entry(wheel: LockedWheel) -> str:
    variants = "".join(f'    "{tag}",\n' for tag in wheel.variants)
    return (
        f'\n[[wheel]]\nname = "{wheel.name}"\nversion = "{wheel.version}"\nfile = "{wheel.file}"\n'
        f'size = {wheel.size}\nsha256 = "{wheel.sha256}"\nvariants = [\n{variants}]\n'
    )


def _wheel(entry: Any) -> LockedWheel:
    fields = dict(entry) if isinstance(entry, dict) else {}
    wheel = LockedWheel(
        name=_text(fields, "name", _NAME),
        version=_text(fields, "version", _VERSION),
        file=_text(fields, "file", _FILE),
        size=fields.pop("size", None) or 0,
        sha256=_text(fields, "sha256", _SHA256),
        variants=tuple(_tags(fields.pop("variants", None))),
    )
    if type(wheel.size) is not int or not 0 < wheel.size <= MAX_WHEEL_BYTES:
        raise UserError(f"The lock file: the size of {wheel.file} is out of range.")
    if fields:
        raise UserError(f"The lock file: unknown keys of {wheel.file}: {', '.join(fields)}.")
    return wheel


def _text(fields: dict[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = fields.pop(key, None)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise UserError(f"The lock file: {key} is missing or wrong: {ascii(value)[:80]}.")
    return value


def _tags(value: Any) -> Iterator[str]:
    if not isinstance(value, list) or not value:
        raise UserError("The lock file: a wheel without variants.")
    for tag in value:
        if not isinstance(tag, str):
            raise UserError("The lock file: a variant that is no text.")
        yield tag if tag == BUILD else Variant.parse(tag).tag
