"""Whether an unpacked folder is still exactly what its index says."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pearrt.bundle.index import File, Index
from pearrt.errors import StoreError

_READ_BYTES = 1024 * 1024


class Change(StrEnum):
    """How a file on disk differs from the index."""

    MISSING = "missing"
    UNEXPECTED = "unexpected"
    KIND = "not a regular file"
    MODE = "executable bit"
    CONTENT = "content"


@dataclass(frozen=True, slots=True)
class Difference:
    """One path and what is wrong with it."""

    path: str
    change: Change


def verify_tree(index: Index, folder: Path) -> list[Difference]:
    """Every difference between `folder` and `index`, by path. Links are not followed.

    Raises StoreError when the folder cannot be read.
    """
    try:
        return _differences(index, folder)
    except OSError as e:
        raise StoreError(f"Cannot verify {folder}: {e.strerror}.") from e


def _differences(index: Index, folder: Path) -> list[Difference]:
    expected = {file.path: file for file in index.files}
    folders = {parent for path in expected for parent in _parents(path)}
    found = {
        path: status
        for path, status in _walk(folder)
        if not (path in folders and stat.S_ISDIR(status.st_mode))
    }
    result = [Difference(path, Change.UNEXPECTED) for path in found if path not in expected]
    for path, file in expected.items():
        change = _compare(folder / path, file, found.get(path))
        if change is not None:
            result.append(Difference(path, change))
    return sorted(result, key=lambda difference: difference.path)


def _parents(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Everything below `folder`; an unexpected folder is named itself and its contents too."""
    pending = [""]
    while pending:
        prefix = pending.pop()
        with os.scandir(folder / prefix) as entries:
            for entry in entries:
                path = prefix + entry.name
                yield path, entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path + "/")


def _compare(path: Path, file: File, status: os.stat_result | None) -> Change | None:
    if status is None:
        return Change.MISSING
    if not stat.S_ISREG(status.st_mode):
        return Change.KIND
    if status.st_size != file.size or _digest(path) != file.sha256:
        return Change.CONTENT
    if os.name == "posix" and bool(status.st_mode & 0o100) != file.executable:
        return Change.MODE
    return None


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    try:
        while part := os.read(fd, _READ_BYTES):
            digest.update(part)
    finally:
        os.close(fd)
    return digest.digest()
