"""Rebuilding a released bundle from its sources, with the options that its own manifest names."""

from __future__ import annotations

import contextlib
import platform
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pearrt import __version__
from pearrt.app.progress import Progress, Report, Stage
from pearrt.app.reproduce_runtime import reproduce_runtime
from pearrt.bundle.index import Index
from pearrt.bundle.manifest import Manifest
from pearrt.bundle.stage import stage_tree
from pearrt.errors import UserError
from pearrt.platform_tag import platform_tag
from pearrt.publish.reproduce import Reproduction, compare
from pearrt.publish.stage import Prepared, from_folder, from_project, from_pypi


@dataclass(frozen=True, slots=True)
class Sources:
    """Exactly one of the two: a folder, or a pinned package. `pure`: only wheels that run on every
    platform. `runtime`: the folder is pearrt's own source tree, and `wheels` holds what its lock names, or
    gets it."""

    folder: Path | None = None
    pypi: str = ""
    pure: bool = False
    runtime: bool = False
    wheels: Path | None = None

    def __str__(self) -> str:
        return self.pypi or str(self.folder)

    @property
    def name(self) -> str:
        """What others may learn of where they were: not the whole path on this machine."""
        return self.pypi or (self.folder.absolute().name if self.folder else "")


def reproduce(released: Index, sources: Sources, report: Report) -> Reproduction:
    """Stages the sources as the released bundle was and compares the two. Nothing is kept.

    Raises UserError for sources that give no bundle.
    """

    def staged(done: int, total: int) -> None:
        report(Progress(Stage.STAGING, done, total, released.manifest.name))

    if sources.runtime and sources.folder:
        return reproduce_runtime(released, sources.folder, sources.wheels, report)
    with _prepared(sources, released.manifest) as prepared:
        made = stage_tree(
            prepared.folder, prepared.manifest, lambda *_: None, codec=released.codec, progress=staged
        )
    return compare(released, made.index)


def builder() -> str:
    """What rebuilds here, as far as it can make a difference."""
    try:
        zstandard = f", zstandard {metadata.version('zstandard')}"
    except metadata.PackageNotFoundError:
        zstandard = ""
    return f"pearrt {__version__}, Python {platform.python_version()}{zstandard}, {platform_tag()}"


@contextlib.contextmanager
def _prepared(sources: Sources, manifest: Manifest) -> Iterator[Prepared]:
    """A project says itself what it is. Of a plain folder or a package the publisher says what starts it and
    what it may do: these are taken from the manifest."""
    if sources.pypi:
        with from_pypi(
            sources.pypi,
            entry=str(manifest.entry),
            name=manifest.name,
            permissions=manifest.permissions,
            pure=sources.pure,
        ) as prepared:
            yield prepared
    elif sources.folder is None or not sources.folder.is_dir():
        raise UserError(f"{sources.folder} is not a folder.", hint="Name the sources with --from or --pypi.")
    elif _is_project(sources.folder):
        with from_project(sources.folder) as prepared:
            yield prepared
    else:
        with from_folder(
            sources.folder,
            name=manifest.name,
            version=manifest.version,
            entry=str(manifest.entry),
            kind=manifest.kind,
            path=manifest.path,
            requires_python=manifest.requires_python,
            platform=manifest.platform,
            permissions=manifest.permissions,
        ) as prepared:
            yield prepared


def _is_project(folder: Path) -> bool:
    if (folder / "pearrt.toml").exists():
        return True
    try:
        table = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as e:
        raise UserError(f"Cannot read {folder / 'pyproject.toml'}: {e}.") from e
    tool = table.get("tool")
    return isinstance(tool, dict) and "pearrt" in tool
