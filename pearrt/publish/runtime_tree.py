"""The tree of a runtime bundle: `pearrt/` from a source tree and its dependencies from locked wheels, side by
side.

Every wheel is held against size and SHA-256 of the lock before it is opened, and unpacked as what it is to
us, a stranger's ZIP: bounded, no path that a bundle may not hold, no link, nothing written twice. The tree
depends on the lock, the variant and the sources alone: no times, no modes, no compiled bytecode, no script
with an interpreter's path. Of each wheel's own description the headers of METADATA and the licences stay.

`Tree.scopes` says of each file which package it is of and in which variants to expect it, by the lock.
Staging keeps files of one scope together in frames: what variants share is stored once, and a new version of
one dependency changes no other's blocks.
"""

from __future__ import annotations

import hashlib
import stat
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pearrt.bundle.path_rules import check_path
from pearrt.bundle.stage import walk
from pearrt.errors import DigestMismatch, LimitExceeded, ProtocolViolation, UserError
from pearrt.publish.runtime_lock import LockedWheel, RuntimeLock, Variant
from pearrt.publish.stage import LEFT_OUT
from pearrt.publish.stage_globs import Globs

MAX_UNPACKED_BYTES = 256 * 1024 * 1024
MAX_MEMBERS = 20_000
LICENCE_FOLDER = "licenses"

COMPILED = (".so", ".pyd", ".dll", ".dylib")
# Bytecode and tests are of no use to who runs pearrt; neither are the sources of what is compiled already.
_LEFT_OUT = Globs(
    exclude=(
        *LEFT_OUT,
        "*/**/tests",
        "*/**/test",
        "zstandard/_cffi*",  # its second backend, for other Pythons: 2 MB to fetch for nothing
        *(f"**/*.{suffix}" for suffix in ("c", "cpp", "h", "hash", "lib", "pxd", "pyi", "pyx")),
    )
)
_LICENCES = ("LICEN", "COPYING", "NOTICE", "AUTHORS")


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a file is to be expected: tags of variants; compiled code is apart from what stands beside it."""

    package: str
    variants: tuple[str, ...]
    compiled: bool = False


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder that holds exactly the bundle's files, and the scope of each by its path."""

    folder: Path
    version: str
    scopes: Mapping[str, Scope]


def build_tree(lock: RuntimeLock, variant: Variant, source: Path, wheels: Path, folder: Path) -> Tree:
    """Fills the new folder `folder`. `source` holds pyproject.toml and pearrt/, `wheels` the locked files.

    Raises UserError for what is missing, DigestMismatch for a wheel that is not the locked one,
    ProtocolViolation or LimitExceeded for one that no bundle may hold.
    """
    folder.mkdir(parents=True)
    everywhere = Scope("pearrt", tuple(each.tag for each in lock.variants))
    scopes = dict.fromkeys(_copy_pearrt(source, folder), everywhere)
    for wheel in lock.wheels_of(variant.tag):
        shared = Scope(wheel.name, _variants_of(lock, wheel))
        own = Scope(wheel.name, wheel.variants, compiled=True)
        for path in unpack_wheel(wheel, wheels, folder):
            scopes[path] = own if path.endswith(COMPILED) else shared
    return Tree(folder, read_version(source), scopes)


def read_version(source: Path) -> str:
    """`pearrt.__version__` of a source tree, read and not run. Raises UserError."""
    path = source / "pearrt" / "__init__.py"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as e:
        raise UserError(f"{source} holds no pearrt source tree: {e.strerror}.") from e
    for line in lines:
        name, _, value = line.partition("=")
        if name.strip() == "__version__":
            return value.strip().strip("\"'")
    raise UserError(f"{path} does not say its version.")


def read_wheel(wheel: LockedWheel, wheels: Path) -> Path:
    """The wheel's file, held against the lock. Raises UserError when it is missing, DigestMismatch."""
    path = wheels / wheel.file
    digest = hashlib.sha256()
    size = 0
    try:
        with path.open("rb") as file:
            while part := file.read(1024 * 1024):
                digest.update(part)
                size += len(part)
    except OSError as e:
        raise UserError(
            f"Cannot read the wheel {path}: {e.strerror}.", hint="Fetch the wheels that the lock names."
        ) from e
    if size != wheel.size or digest.hexdigest() != wheel.sha256:
        raise DigestMismatch(
            f"{wheel.file} is not the file that the lock names.", hint="Remove and refetch it."
        )
    return path


def unpack_wheel(wheel: LockedWheel, wheels: Path, folder: Path) -> Iterator[str]:
    """Writes the wheel's files below `folder` and gives their paths."""
    left = MAX_UNPACKED_BYTES
    try:
        with zipfile.ZipFile(read_wheel(wheel, wheels)) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise LimitExceeded(f"{wheel.file} has {len(members)} files; at most {MAX_MEMBERS}.")
            for member in members:
                path = _place(member)
                if not path:
                    continue
                left -= member.file_size
                if left < 0:
                    raise LimitExceeded(f"{wheel.file} unpacks to more than {MAX_UNPACKED_BYTES} bytes.")
                data = archive.read(member)
                _write(folder / path, _headers(data) if path.endswith(".dist-info/METADATA") else data)
                yield path
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as e:
        raise ProtocolViolation(f"{wheel.file} is no whole ZIP: {e}.") from e


def _place(member: zipfile.ZipInfo) -> str:
    """Where the file goes in the tree (PEP 427); empty for what stays out. Raises ProtocolViolation."""
    name = member.orig_filename
    if member.is_dir():
        return ""
    check_path(name)
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise ProtocolViolation(f"wheel: {name!a} is no ordinary file")
    parts = PurePosixPath(name).parts
    if parts[0].endswith(".data"):
        if len(parts) < 3 or parts[1] not in ("purelib", "platlib"):
            return ""  # scripts, headers, man pages
        parts = parts[2:]
    if parts[0].endswith(".dist-info") and not _is_kept(parts[1:]):
        return ""
    path = "/".join(parts)
    return "" if _LEFT_OUT.excludes(path) else path


def _is_kept(parts: tuple[str, ...]) -> bool:
    """Of a `.dist-info` folder: what it is and under which licence."""
    return parts == ("METADATA",) or parts[0] == LICENCE_FOLDER or parts[-1].upper().startswith(_LICENCES)


def _headers(metadata: bytes) -> bytes:
    """METADATA without the long description."""
    return metadata.replace(b"\r\n", b"\n").partition(b"\n\n")[0].rstrip(b"\n") + b"\n"


def _copy_pearrt(source: Path, folder: Path) -> Iterator[str]:
    """pearrt's own package as its wheel has it, and its licence."""
    version = read_version(source)
    for place, target in package_folders(source).items():
        if not (source / place).is_dir():
            raise UserError(f"{source} has no folder {place}.", hint="Name the root of pearrt's source tree.")
        for path in walk(source / place, skip=_LEFT_OUT.excludes):
            _write(folder / target / path, (source / place / path).read_bytes())
            yield f"{target}/{path}"
    info = f"pearrt-{version}.dist-info"
    head = f"Metadata-Version: 2.4\nName: pearrt\nVersion: {version}\nLicense-Expression: Apache-2.0\n"
    for path, data in (
        (f"{info}/METADATA", head.encode()),
        (f"{info}/{LICENCE_FOLDER}/LICENSE", (source / "LICENSE").read_bytes()),
    ):
        _write(folder / path, data)
        yield path


def package_folders(source: Path) -> dict[str, str]:
    """Folders of the source tree that the wheel is made of, and where they go: as pyproject.toml says."""
    try:
        pyproject = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"{source} has no pyproject.toml that can be read: {e}.") from e
    wheel = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]
    return {name: name for name in wheel["packages"]} | dict(wheel.get("force-include", {}))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError as e:
        raise ProtocolViolation(f"{path.name} is in two wheels, or twice in one") from e
    path.chmod(0o644)


def _variants_of(lock: RuntimeLock, wheel: LockedWheel) -> tuple[str, ...]:
    """All variants that have this package, whichever wheel each takes."""
    return tuple(
        variant.tag
        for variant in lock.variants
        if any(other.name == wheel.name and variant.tag in other.variants for other in lock.wheels)
    )
