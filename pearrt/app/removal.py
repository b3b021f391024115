"""Removal of a folder that an app had to itself.

What it left may be closed to its owner, nested deeper than a path or a call stack can be, full of links, and
changing still. Rules: no link is followed, every folder is reached by a descriptor of the one above it; a
folder in a folder is moved to the top before it is taken apart, so that two descriptors do for any depth.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

TRIES = 10
PASSES = 10_000  # through one folder, of _AT_ONCE entries each
_AT_ONCE = 4096
_FOLDER = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_AGAIN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR)


def remove_tree(folder: Path) -> None:
    """Removes it, or the file or link in its place; nothing where there is none. Raises OSError."""
    if folder.is_symlink() or not folder.is_dir():
        with contextlib.suppress(FileNotFoundError):
            folder.unlink()
        return
    for tries_left in reversed(range(TRIES)):
        try:
            if os.name == "nt":
                shutil.rmtree(folder)
            else:
                _remove(folder)
            return
        except OSError as e:  # a thread that still compiles its modules, or the app, puts something into it
            if e.errno not in _AGAIN or not tries_left:
                raise


def _remove(folder: Path) -> None:
    top = _entered(os.fspath(folder), None)
    try:
        for name in _entries(top):
            if _is_folder(name, top):
                _take_apart(name, top)
            else:
                os.unlink(name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(folder)


def _take_apart(name: str, top: int) -> None:
    at = _entered(name, top)
    try:
        for inner in _entries(at):
            if _is_folder(inner, at):
                os.close(_entered(inner, at))  # its owner must be able to write to it to move it
                os.rename(inner, f".{secrets.token_hex(12)}", src_dir_fd=at, dst_dir_fd=top)
            else:
                os.unlink(inner, dir_fd=at)
    finally:
        os.close(at)
    os.rmdir(name, dir_fd=top)


def _entries(at: int) -> Iterator[str]:
    """The names in a folder until it is empty. One that an app fills as fast is left with what is in it."""
    for _ in range(PASSES):
        with os.scandir(at) as found:
            names = [entry.name for entry in islice(found, _AT_ONCE)]
        if not names:
            return
        yield from names


def _is_folder(name: str, at: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode)


def _entered(name: str, at: int | None) -> int:
    """A descriptor of the folder, which its owner may read and write from now on."""
    if hasattr(os, "O_PATH"):
        held = os.open(name, os.O_PATH | _FOLDER, dir_fd=at)
        try:
            os.chmod(f"/proc/self/fd/{held}", 0o700)
        finally:
            os.close(held)
    else:
        os.chmod(name, 0o700, dir_fd=at, follow_symlinks=False)
    return os.open(name, os.O_RDONLY | _FOLDER, dir_fd=at)
