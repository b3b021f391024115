"""From what a publisher has — a folder, a project, a package on an index — to a clean folder and its
manifest.

Each `from_…` is a context manager that yields a `Prepared`: a folder that holds exactly the files of the
bundle, and the manifest. The folder is the publisher's own where nothing has to be left out or added, else a
private temporary one that goes away with the context. Caches, compiled files and version-control folders
never get into a bundle.

Nothing that differs from machine to machine stays: a package staged twice, anywhere, on one platform gives
one tree.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pearrt.bundle.manifest import Entry, Manifest
from pearrt.bundle.stage import walk
from pearrt.errors import LimitExceeded, ProtocolViolation, UserError
from pearrt.publish.stage_globs import Globs
from pearrt.publish.stage_pip import Installed, install, normal_name, parse_pin
from pearrt.publish.stage_project import Project, read_pearrt_toml, read_project
from pearrt.publish.stage_tags import Support, join

LEFT_OUT = (
    "**/__pycache__",
    "**/*.pyc",
    "**/.git",
    "**/.hg",
    "**/.svn",
    "**/.venv",
    "**/.mypy_cache",
    "**/.pytest_cache",
    "**/.ruff_cache",
    "**/.DS_Store",
)
VENDOR = "vendor"
WASM_HEADER = b"\0asm\1\0\0\0"  # WebAssembly core 2.0, 5.5.16: magic and version


@dataclass(frozen=True, slots=True)
class Prepared:
    """A folder with exactly the bundle's files, and the manifest to stage it under."""

    folder: Path
    manifest: Manifest


@contextlib.contextmanager
def from_folder(
    folder: Path,
    *,
    name: str,
    version: str,
    entry: str,
    kind: str = "python",
    path: Sequence[str] = (".",),
    requires_python: str = "",
    platform: str = "any",
    permissions: Mapping[str, Any] | None = None,
) -> Iterator[Prepared]:
    """A folder as it is. Raises UserError."""
    with user_error("manifest"):
        manifest = Manifest(
            name=name,
            version=version,
            entry=Entry.parse(entry, kind),
            kind=kind,
            path=tuple(path),
            requires_python=requires_python,
            platform=platform,
            permissions=permissions or {},
        )
    with _selected(folder, Globs(exclude=LEFT_OUT)) as clean:
        yield _prepared(clean, manifest)


@contextlib.contextmanager
def from_project(folder: Path) -> Iterator[Prepared]:
    """A folder with a `pearrt.toml`, or whose `pyproject.toml` has a `[tool.pearrt]` table; its dependencies
    are vendored by pip.

    Raises UserError for a table that is wrong and for what pip cannot install.
    """
    own = folder / "pearrt.toml"
    if own.exists():
        project = read_pearrt_toml(_read_text(own))
    else:
        project = read_project(_read_text(folder / "pyproject.toml"))
    globs = Globs(include=project.include, exclude=(*LEFT_OUT, *project.exclude))
    with _selected(folder, globs, copy=bool(project.dependencies)) as clean:
        support = Support()
        if project.dependencies:
            if (clean / VENDOR).exists():
                raise UserError(f"The project has a folder named {VENDOR} of its own; dependencies go there.")
            support = install(project.dependencies, clean / VENDOR).support
        yield _prepared(clean, _project_manifest(project, support))


@contextlib.contextmanager
def from_pypi(
    requirement: str,
    *,
    entry: str = "",
    name: str = "",
    permissions: Mapping[str, Any] | None = None,
    pure: bool = False,
) -> Iterator[Prepared]:
    """A package from the index that pip is set up for, with its dependencies, started by its console script.

    `requirement` is NAME==VERSION, extras allowed. `entry` names a console script or module:function where
    the obvious one is not meant. `pure` takes wheels for every platform only. Raises UserError.
    """
    pin = parse_pin(requirement)
    with temporary_folder() as folder:
        installed = install((requirement,), folder / "tree", pure=pure)
        main = installed.distribution(pin.name)
        with user_error("manifest"):
            manifest = Manifest(
                name=name or main.name,
                version=main.version,
                entry=Entry.parse(_target(installed, pin.name, entry)),
                requires_python=installed.support.requires_python,
                platform=installed.support.platform,
                permissions=permissions or {},
            )
        yield _prepared(folder / "tree", manifest)


def _prepared(folder: Path, manifest: Manifest) -> Prepared:
    """Raises UserError when the tree lacks what the entry names: better here than on everybody's machine."""
    _check_there(folder, manifest, manifest.entry)
    if manifest.backend is not None:
        _check_there(folder, manifest, manifest.backend)
    _check_content(folder, manifest)
    return Prepared(folder, manifest)


def _check_there(folder: Path, manifest: Manifest, entry: Entry) -> None:
    top = entry.module.partition(".")[0]
    if entry.file and not (folder / entry.file).is_file():
        raise UserError(
            f"The entry {entry.file} is not among the app's files.", hint="Look at entry and include."
        )
    if top and top not in sys.stdlib_module_names:
        places = [folder / place for place in manifest.path]
        if not any((place / top).is_dir() or list(place.glob(f"{top}.*")) for place in places):
            raise UserError(
                f"The entry's module {top} is not among the app's files.",
                hint=f"Look at entry, include and path, which is {list(manifest.path)}.",
            )


def _check_content(folder: Path, manifest: Manifest) -> None:
    """Kinds that would be refused at every start."""
    file = folder / manifest.entry.file
    if manifest.kind == "exec" and not os.access(file, os.X_OK):
        raise UserError(f"{manifest.entry.file} is not executable.", hint=f"chmod +x {manifest.entry.file}")
    if manifest.kind == "wasi":
        with open(file, "rb") as module:
            if module.read(len(WASM_HEADER)) != WASM_HEADER:
                raise UserError(
                    f"{manifest.entry.file} is no WebAssembly module.",
                    hint="Compiled ones (.cwasm) and text (.wat) are not taken: build a core .wasm for WASI.",
                )


def _target(installed: Installed, name: str, entry: str) -> str:
    """What to start: the entry that was chosen, which may name a console script, else the obvious one."""
    if entry:
        return installed.distribution(name).scripts.get(entry, entry)
    return _script_of(installed, name)


def _script_of(installed: Installed, name: str) -> str:
    """The one console script that starts the project. Raises UserError when that is unclear."""
    scripts = installed.distribution(name).scripts
    for script, target in scripts.items():
        if normal_name(script) == normal_name(name):
            return target
    if len(scripts) == 1:
        return next(iter(scripts.values()))
    if not scripts:
        raise UserError(
            f"{name} has no console script to start.",
            hint="Name what to start: --entry package.module:function.",
        )
    listed = ", ".join(f"{script} ({target})" for script, target in sorted(scripts.items()))
    raise UserError(f"{name} has several console scripts: {listed}.", hint="Choose one with --entry.")


def _project_manifest(project: Project, support: Support) -> Manifest:
    path = project.path + ((VENDOR,) if project.dependencies else ())
    with user_error("[tool.pearrt]"):
        return Manifest(
            name=project.name,
            version=project.version,
            entry=Entry.parse(project.entry, project.kind),
            backend=Entry.parse(project.backend) if project.backend else None,
            kind=project.kind,
            path=path,
            requires_python=join(project.requires_python, support.requires_python),
            platform=support.platform if project.platform == "any" else project.platform,
            permissions=project.permissions,
        )


@contextlib.contextmanager
def _selected(folder: Path, globs: Globs, *, copy: bool = False) -> Iterator[Path]:
    """`folder` itself when all of it is wanted and nothing will be added, else a copy of what is."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder.")
    skipped = []

    def skip(path: str) -> bool:
        if globs.excludes(path):
            skipped.append(path)
            return True
        return False

    found = list(walk(folder, skip=skip))
    wanted = [path for path in found if globs.wants(path)]
    if not wanted:
        raise UserError(f"Nothing in {folder} belongs to the app.", hint="Look at include and exclude.")
    if not copy and not skipped and len(wanted) == len(found):
        yield folder
        return
    with temporary_folder() as temporary:
        for path in wanted:
            target = temporary / "tree" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / path, target, follow_symlinks=False)
        yield temporary / "tree"


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A private folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="pearrt-stage-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def user_error(what: str) -> Iterator[None]:
    """A rule of the manifest that is broken here is the publisher's mistake, not a peer's."""
    try:
        yield
    except (ProtocolViolation, LimitExceeded, TypeError) as e:
        raise UserError(f"{what}: {e}") from e


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as e:
        if not path.parent.is_dir():
            raise UserError(f"There is no folder {path.parent}.") from e
        raise UserError(
            f"{path.parent} has neither a pearrt.toml nor a pyproject.toml.",
            hint="One says how the app starts; `pearrt stage` takes --name, --version and --entry instead.",
        ) from e
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "not UTF-8"
        raise UserError(f"Cannot read {os.fspath(path)}: {reason}.") from e
