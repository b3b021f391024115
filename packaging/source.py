"""What everything here is built from: a commit, never the working tree.

The files of the commit go to a private folder, with the modes that git knows (0644, 0755) whatever the
umask, and `epoch`, the commit's time, stands in for the present in every archive. A source tree without git
(an unpacked sdist) is copied as it is, and so is a checkout with BUILD_WORKING_TREE=1, to try out what is
not committed; its time comes from SOURCE_DATE_EPOCH, else it is that of its PKG-INFO.

Importing this module puts the tree it lies in first on `sys.path`: what builds is that tree's pearrt, not one
that happens to be installed.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
LOCK = "packaging/runtime.lock"
_NO_DATE = 1_580_601_600  # 2020-02-02, what hatchling takes where nothing says otherwise
_NOT_SOURCE = shutil.ignore_patterns(
    "__pycache__", "*.pyc", "dist", "build", ".git", ".venv", ".*_cache", ".hypothesis"
)


@dataclass(frozen=True, slots=True)
class Source:
    """A source tree of its own. `epoch` in seconds since 1970; `commit` is empty outside git."""

    folder: Path
    epoch: int
    commit: str


@contextlib.contextmanager
def exported(root: Path = ROOT, commit: str = "HEAD") -> Iterator[Source]:
    """The files of `commit` in a temporary folder that is gone afterwards. Raises OSError,
    CalledProcessError."""
    with tempfile.TemporaryDirectory(prefix="pearrt-source-") as temporary:
        folder = Path(temporary) / "pearrt"
        if (root / ".git").exists() and not os.environ.get("BUILD_WORKING_TREE"):
            source = _from_git(root, commit, folder)
        else:
            shutil.copytree(root, folder, ignore=_NOT_SOURCE)
            stamp = root / "PKG-INFO"
            given = os.environ.get("SOURCE_DATE_EPOCH")
            source = Source(folder, int(given or (stamp.stat().st_mtime if stamp.exists() else _NO_DATE)), "")
        _settle(source)
        yield source


def _from_git(root: Path, commit: str, folder: Path) -> Source:
    name = _git(root, "rev-parse", "--verify", f"{commit}^{{commit}}").decode().strip()
    epoch = int(_git(root, "show", "--no-patch", "--format=%ct", name))
    with zipfile.ZipFile(io.BytesIO(_git(root, "archive", "--format=zip", "-0", name))) as archive:
        for member in archive.infolist():
            path = Path(archive.extract(member, folder))
            if member.external_attr >> 16 & 0o100:
                path.chmod(0o755)
    return Source(folder, epoch, name)


def _settle(source: Source) -> None:
    """Modes and times that depend on nothing but the source."""
    source.folder.chmod(0o755)
    for path in source.folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (source.epoch, source.epoch))


def _git(root: Path, *arguments: str) -> bytes:
    command = ["git", "-c", f"safe.directory={root}", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


def is_dirty(root: Path = ROOT) -> bool:
    """Whether the working tree differs from the commit: said aloud, since those changes are not built."""
    return (root / ".git").exists() and bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
