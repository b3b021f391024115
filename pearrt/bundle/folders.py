"""Files below one open folder, reached by directory descriptors only: no component is ever followed through a
link. Where there are none (Windows), by path, with every folder looked at before it is entered.

A cursor remembers the chain of open folders to where it last was; since files come sorted by path, most share
it. It holds at most one descriptor per component of a path, and belongs to one thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

OPEN_FOLDER = (
    os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
)
_WRITE = os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_CREATE = _WRITE | os.O_CREAT | os.O_EXCL
_BINARY = getattr(os, "O_BINARY", 0)  # else Windows would change line ends
_CREATE_BINARY = _CREATE | _BINARY
BY_DESCRIPTOR = os.open in os.supports_dir_fd


class FolderCursor:
    """Creates files and their folders below the descriptor `root`, which stays the caller's."""

    def __init__(self, root: int) -> None:
        self.root = root
        self.names: list[str] = []
        self.fds: list[int] = []

    def close(self) -> None:
        self._back_to(0)

    def create(self, path: str, executable: bool, data: bytes | memoryview) -> None:
        """Writes a new file, 0644 or 0755, making folders (0755) on the way. Raises OSError."""
        mode = 0o755 if executable else 0o644
        fd = os.open(self._basename_at(path), _CREATE, mode, dir_fd=self._here())
        try:
            if os.fstat(fd).st_mode & 0o777 != mode:
                os.fchmod(fd, mode)  # a umask other than 022
            _write_all(fd, data)
        finally:
            os.close(fd)

    def write_at(self, path: str, offset: int, data: memoryview) -> None:
        """Writes into a file that `create` made. Raises OSError."""
        fd = os.open(self._basename_at(path), _WRITE, dir_fd=self._here())
        try:
            while data:
                written = os.pwrite(fd, data, offset)
                data, offset = data[written:], offset + written
        finally:
            os.close(fd)

    def _here(self) -> int:
        return self.fds[-1] if self.fds else self.root

    def _basename_at(self, path: str) -> str:
        """Moves to the folder of `path` and gives the last component."""
        *folders, name = path.split("/")
        if folders != self.names:
            shared = 0
            while shared < min(len(folders), len(self.names)) and folders[shared] == self.names[shared]:
                shared += 1
            self._back_to(shared)
            for folder in folders[shared:]:
                self._enter(folder)
        return name

    def _enter(self, folder: str) -> None:
        try:
            os.mkdir(folder, 0o755, dir_fd=self._here())
            made = True
        except FileExistsError:
            made = False
        fd = os.open(folder, OPEN_FOLDER, dir_fd=self._here())
        self.names.append(folder)
        self.fds.append(fd)
        if made and os.fstat(fd).st_mode & 0o777 != 0o755:
            os.fchmod(fd, 0o755)

    def _back_to(self, depth: int) -> None:
        while len(self.fds) > depth:
            self.names.pop()
            os.close(self.fds.pop())


class PathCursor:
    """The same by path, below `root`, which is new and this user's alone. There is no execute bit."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.entered: set[str] = set()

    def close(self) -> None:
        """Nothing is kept open."""

    def create(self, path: str, executable: bool, data: bytes | memoryview) -> None:
        """As `FolderCursor.create`."""
        del executable
        folder, _, name = path.rpartition("/")
        fd = os.open(os.path.join(self._enter(folder), name), _CREATE_BINARY, 0o644)
        try:
            _write_all(fd, data)
        finally:
            os.close(fd)

    def write_at(self, path: str, offset: int, data: memoryview) -> None:
        """As `FolderCursor.write_at`."""
        folder, _, name = path.rpartition("/")
        fd = os.open(os.path.join(self._enter(folder), name), _WRITE | _BINARY)
        try:
            os.lseek(fd, offset, os.SEEK_SET)
            _write_all(fd, data)
        finally:
            os.close(fd)

    def _enter(self, folder: str) -> str:
        place = os.path.join(self.root, *folder.split("/")) if folder else self.root
        if folder and folder not in self.entered:
            self._enter(folder.rpartition("/")[0])
            with contextlib.suppress(FileExistsError):
                os.mkdir(place, 0o755)
            status = os.lstat(place)
            if not stat.S_ISDIR(status.st_mode) or _leads_elsewhere(status):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), place)
            self.entered.add(folder)
        return place


def _leads_elsewhere(status: os.stat_result) -> bool:
    """Whether it is one of Windows' folders that are others in truth (junctions, mount points)."""
    return bool(getattr(status, "st_file_attributes", 0) & stat.FILE_ATTRIBUTE_REPARSE_POINT)


def _write_all(fd: int, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
