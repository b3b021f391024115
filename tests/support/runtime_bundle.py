"""A runtime release to test with: pearrt as it is installed here and what it depends on, side by side in one
tree.

Not what is shipped (that is built from locked wheels), but as little and as quick to pack as runs: what no
test touches is left out, the codec is zlib. The files are gathered once per process; a tree is hard links.
"""

from __future__ import annotations

import atexit
import compileall
import functools
import importlib.util
import os
import py_compile
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import pearrt
from pearrt.app.stage import keep
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.bundle.stage import stage_tree
from pearrt.platform_tag import platform_tags
from pearrt.store.service import Store
from tests.support.machine import Machine
from tests.support.team import NAMES, Team

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT_PACKAGES = ("pygments", "markdown-it-py", "mdurl", "pycparser")
LEFT_OUT_PATHS = ("__pycache__", "tests", "_cffi.cpython", ".dist-info", "aiohttp/.hash")
LEFT_OUT_KINDS = (".pyi", ".pyx", ".pxd", ".c", ".h", ".pyc", ".pth")
VERSION_FILE = "pearrt/__init__.py"
UNCHECKED = py_compile.PycInvalidationMode.UNCHECKED_HASH


def runtime_tree(
    folder: Path, *, version: str = "", files: Mapping[str, str] | None = None, compiled: bool = False
) -> Path:
    """A new tree at `folder`. `version`: what it says it is; `files`: texts that replace or add files;
    `compiled`: with the bytecode of all modules."""
    files = dict(files or {})
    if version:
        files[VERSION_FILE] = f'"""pearrt {version}, for tests."""\n\n__version__ = "{version}"\n'
    shutil.copytree(_compiled() if compiled else _gathered(), folder, copy_function=_link)
    for name, text in files.items():
        path = folder / name
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if compiled and path.suffix == ".py":
            cache = Path(importlib.util.cache_from_source(path))
            cache.unlink(missing_ok=True)
            py_compile.compile(str(path), str(cache), dfile=name, invalidation_mode=UNCHECKED)
    return folder


def stage_runtime(
    machine: Machine,
    tree: Path,
    *,
    version: str,
    platform: str = "",
    codec: str = "zlib",
    level: int | None = 1,
) -> str:
    """Stages the tree into the machine's store and gives its digest. A daemon that runs there is stopped; the
    next command starts it again."""
    machine.stop()
    manifest = Manifest(
        name="pearrt",
        version=version,
        entry=Entry(module="pearrt.cli.main", function="main"),
        platform=platform or platform_tags()[0],
    )
    machine.home.prepare()
    with Store(machine.home.store) as store:
        staged = stage_tree(tree, manifest, store.put, codec=codec, level=level)
        digest: str = keep(staged, store, machine.home)["digest"]
    return digest


def release_runtime(
    team: Team,
    folder: Path,
    version: str,
    *signers: str,
    files: Mapping[str, str] | None = None,
    platform: str = "",
) -> str:
    """Signs and publishes a release of the runtime at the team's machine; gives the digest of its index."""
    tree = runtime_tree(folder / f"runtime-{version}", version=version, files=files)
    digest = stage_runtime(team.machine, tree, version=version, platform=platform)
    team.release(digest, *(signers or NAMES[:3]), version=version)
    return digest


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


@functools.cache
def _gathered() -> Path:
    """The tree that all others are links of, for as long as this process lives."""
    folder = _kept_folder()
    for source, path in _files():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o644)
    return folder


@functools.cache
def _compiled() -> Path:
    """The same with bytecode."""
    folder = _kept_folder()
    shutil.copytree(_gathered(), folder, copy_function=_link, dirs_exist_ok=True)
    compileall.compile_dir(folder, quiet=2, invalidation_mode=UNCHECKED, stripdir=str(folder))
    return folder


def _kept_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="prt-runtime-"))
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, pid: int) -> None:
    if os.getpid() == pid:  # a forked child is not the one to remove it
        shutil.rmtree(folder, ignore_errors=True)


def _files() -> Iterator[tuple[Path, str]]:
    """Every file with its path in the tree."""
    package = Path(pearrt.__file__).parent
    places = {package: "pearrt"}
    for place, target in (("bootstrap", "_bootstrap"), ("examples/guestbook", "demo/apps/guestbook")):
        if not (package / target).exists():  # an editable install does without
            places[ROOT / place] = f"pearrt/{target}"
    for folder, prefix in places.items():
        for path in sorted(folder.rglob("*")):
            name = f"{prefix}/{path.relative_to(folder).as_posix()}"
            if path.is_file() and _wanted(name):
                yield path, name
    for name in sorted(_dependencies("pearrt")):
        for entry in metadata.distribution(name).files or ():
            if ".." not in entry.parts and _wanted(entry.as_posix()):
                yield Path(str(entry.locate())), entry.as_posix()


def _wanted(path: str) -> bool:
    return not path.endswith(LEFT_OUT_KINDS) and not any(part in path for part in LEFT_OUT_PATHS)


def _dependencies(name: str) -> set[str]:
    """Names of all distributions that `name` needs here, itself left out."""
    from packaging.requirements import Requirement

    found: set[str] = set()
    pending = [name]
    while pending:
        for text in metadata.distribution(pending.pop()).requires or ():
            requirement = Requirement(text)
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            key = requirement.name.lower().replace("_", "-")
            if wanted and key not in found and key not in LEFT_OUT_PACKAGES:
                found.add(key)
                pending.append(key)
    return found
