"""Opens the file that the person chose, so that its descriptor gives an app no more than was asked for.

Rules:
    the choice     an absolute path; folders on the way may be links, and are followed once: the folder that
                   was judged is the one that the file is opened in; the file itself is no link (O_NOFOLLOW)
    what it is     a regular file; nothing in /proc, /sys or /dev, nothing that pearrt keeps for itself
    `read`         read-only, through a mount that is read-only too: neither opening it anew by
                   /proc/self/fd nor fchmod, futimens or fsetxattr writes to the file or its node, on any
                   tier, with or without Landlock. bubblewrap makes the mount, the descriptor holds it
    `save`         write-only, emptied once all checks are done. Opened anew it shows what the app wrote
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pearrt.app.picker import MAX_PATH_BYTES, READ, SAVE
from pearrt.errors import Denied, StoreError, Unsupported, UserError
from pearrt.sandbox.host import inspect

OPEN_TIMEOUT_S = 20.0
_PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MACHINES = ("/proc", "/sys", "/dev")
_NO_FILE = (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV)

# Runs where everything is mounted read-only; says the error's number, or passes the descriptor.
_READER = """
import os, socket, sys
out = socket.socket(fileno=int(sys.argv[2]))
try:
    fd = os.open(sys.argv[1], os.O_RDONLY | int(sys.argv[3]))
except OSError as e:
    out.sendall(b"%d" % e.errno)
else:
    socket.send_fds(out, [b"+"], [fd])
"""


def open_chosen(path: str, mode: str, *, kept: Sequence[Path] = ()) -> int:
    """A descriptor of the file at the absolute `path`; nothing below the folders `kept` is ever given.

    Raises Denied for what is not given to apps, UserError for what is no such file, StoreError where the
    system would not open it, Unsupported where nothing here can hold it read-only.
    """
    if sys.platform != "linux":
        raise Unsupported("Files are handed to apps on Linux only.")
    if not os.path.isabs(path) or "\0" in path or len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise UserError("That is no path of a file.")
    above, name = os.path.split(path)
    folder = os.path.realpath(above)
    for place in (os.path.normpath(path), os.path.join(folder, name)):
        _check_place(place, kept)
    try:
        with _held(folder) as at:
            fd = _open_reading(at, folder, name) if mode == READ else _open_saving(at, name)
    except OSError as e:
        if e.errno in _NO_FILE:
            raise _no_file(path) from e
        raise StoreError(f"{_shown(path)} cannot be opened: {os.strerror(e.errno or 0)}.") from e
    try:
        _check_file(fd, path)
        fcntl.fcntl(fd, fcntl.F_SETFL, 0)  # as an app expects: no O_NONBLOCK
        if mode == SAVE:
            os.ftruncate(fd, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check_place(place: str, kept: Sequence[Path]) -> None:
    folders = [os.path.realpath(folder) for folder in kept]
    if any(_within(place, folder) for folder in [*map(str, kept), *folders]):
        raise Denied(f"{_shown(place)} belongs to pearrt itself.", hint="Copy the file elsewhere first.")
    if any(_within(place, folder) for folder in _MACHINES) and not _within(place, "/dev/shm"):  # noqa: S108
        raise Denied(f"{_shown(place)} is a part of this machine and no file of yours.")


def _within(place: str, folder: str) -> bool:
    return place == folder or place.startswith(folder.rstrip("/") + "/")


@contextlib.contextmanager
def _held(folder: str) -> Iterator[int]:
    """The folder at a path without links. Raises Denied where a link has come there since."""
    at = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.readlink(f"/proc/self/fd/{at}") != folder:
            raise Denied(f"{_shown(folder)} was exchanged while the file was opened.")
        yield at
    finally:
        os.close(at)


def _check_file(fd: int, path: str) -> None:
    """Raises where the descriptor is of no regular file, or of the machine's."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise _no_file(path)
    for folder in _MACHINES:
        with contextlib.suppress(OSError):
            if os.stat(folder).st_dev == found.st_dev:
                raise Denied(f"{_shown(path)} is a part of this machine and no file of yours.")


def _open_saving(at: int, name: str) -> int:
    return os.open(name, os.O_WRONLY | os.O_CREAT | _PLAIN, 0o666, dir_fd=at)


def _open_reading(at: int, folder: str, name: str) -> int:
    """Through a mount that cannot be written to. Raises OSError, Denied, Unsupported."""
    fd = _open_elsewhere(os.path.join(folder, name))
    try:
        if not os.path.samestat(os.stat(name, dir_fd=at, follow_symlinks=False), os.fstat(fd)):
            raise Denied(f"{_shown(name)} was exchanged while it was opened.")
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open_elsewhere(path: str) -> int:
    """As `_open_reading`, by the path."""
    host = inspect()
    if host.bubblewrap is None:
        raise Unsupported(
            "Files are handed to apps by bubblewrap, which is missing.",
            hint="Install the package bubblewrap.",
        )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(OPEN_TIMEOUT_S)
        command = [host.bubblewrap, "--ro-bind", "/", "/", "--die-with-parent", "--", host.interpreter]
        command += ["-I", "-S", "-c", _READER, path, str(theirs.fileno()), str(_PLAIN)]
        with _running(command, theirs.fileno()):
            theirs.close()
            try:
                told, fds, _, _ = socket.recv_fds(ours, 16, 1, socket.MSG_CMSG_CLOEXEC)
            except TimeoutError as e:
                raise StoreError(f"{_shown(path)} did not open in time.") from e
    if told.isdigit():
        raise OSError(int(told), os.strerror(int(told)))
    if not fds or not os.fstatvfs(fds[0]).f_flag & os.ST_RDONLY:
        for fd in fds:
            os.close(fd)
        raise Unsupported(
            "This machine cannot hand out a file for reading only.",
            hint="`pearrt doctor` shows what is missing.",
        )
    return fds[0]


@contextlib.contextmanager
def _running(command: list[str], passed: int) -> Iterator[None]:
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[passed],
            start_new_session=True,
        )
    except OSError as e:
        raise Unsupported(f"{command[0]} does not start: {e.strerror}.") from e
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _no_file(path: str) -> UserError:
    return UserError(
        f"{_shown(path)} is no regular file.", hint="Choose the file itself: no folder, link or device."
    )


def _shown(path: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in path)
