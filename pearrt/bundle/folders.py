"""Files below one open folder, reached by directory descriptors only: no component is ever followed through a
link.

A cursor remembers the chain of open folders to where it last was; since files come sorted by path, most share
it. It holds at most one descriptor per component of a path, and belongs to one thread.
"""

from __future__ import annotations

import os

_FOLDER = (
    os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
)
_WRITE = os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_CREATE = _WRITE | os.O_CREAT | os.O_EXCL


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
        fd = os.open(folder, _FOLDER, dir_fd=self._here())
        self.names.append(folder)
        self.fds.append(fd)
        if made and os.fstat(fd).st_mode & 0o777 != 0o755:
            os.fchmod(fd, 0o755)

    def _back_to(self, depth: int) -> None:
        while len(self.fds) > depth:
            self.names.pop()
            os.close(self.fds.pop())


def _write_all(fd: int, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
