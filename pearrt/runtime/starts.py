"""Starts of a version that ended in a crash, counted until one is seen to be well. Standard library only.

    <data>/runtime/starts/<digest>.<time>.<process>   one file for a daemon's start

A daemon makes its file, empty and open, before any of its program is loaded. Only a crash writes into it: an
exception that nobody caught; a fatal signal such as SIGSEGV, through faulthandler, out of the dying process;
or the command that started it and saw it end without a word. An empty file counts for nothing. So a kill,
Ctrl-C, a machine that was switched off and an error that was told are no crash by construction, and kill -9
finds no moment that leaves a wrong count. What the machine is to blame for, such as a full disk, is none
either. A daemon that has stayed up for HEALTHY_AFTER_S removes all files.

A command is not counted before. Where its program cannot be loaded it leaves a file; the next one that ends
well removes it.

MAX_CRASHES within WINDOW_S and no sign of health between them: `RuntimeFolder.choose` lets the version before
it run. The folder lies where the state file lies, which is nobody else's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

MAX_CRASHES = 3  # as many as a version on trial has
WINDOW_S = 7 * 86_400
HEALTHY_AFTER_S = 600.0
MAX_FILES = 64
MAX_WORDS_CHARS = 300
COMMAND = "command"  # in the place of the process

_KILLS = (-1, -2, -3, -9, -15)  # SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGTERM
_OF_THE_MACHINE = {
    errno.EDQUOT,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.EROFS,
}


@contextlib.contextmanager
def watched(folder: Path, digest: str) -> Iterator[None]:
    """Around the whole program of a daemon, in its own process. Where nothing can be written, nothing is
    counted."""
    try:
        path, fd = _create(folder, digest, str(os.getpid()))
    except OSError:
        yield
        return
    import faulthandler

    faulthandler.enable(fd, all_threads=False)  # which keeps to this descriptor to the end of the process
    try:
        yield
    except Exception as e:
        if _is_crash(e):
            _write(fd, _words(e))
        raise
    except BaseException:  # it ended by its own will, or by somebody's
        _remove(path)
        raise
    _remove(path)


@contextlib.contextmanager
def loading(folder: Path, digest: str) -> Iterator[None]:
    """Around the whole program of a command."""
    try:
        yield
    except (ImportError, SyntaxError) as e:
        with contextlib.suppress(OSError):
            _, fd = _create(folder, digest, COMMAND)
            _write(fd, _words(e))
            os.close(fd)
        raise
    except SystemExit:
        forget(folder, process=COMMAND)
        raise
    forget(folder, process=COMMAND)


def saw_end(folder: Path, process: int, code: int) -> None:
    """Whoever started a daemon saw it end with this exit code, or by the signal `-code`. Counted where that
    was no kill and the daemon itself had nothing to say."""
    if code in _KILLS:
        return
    said = f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"
    for entry in _by_time(_of(folder, process=str(process)))[-1:]:
        with contextlib.suppress(OSError):
            fd = os.open(entry.path, os.O_WRONLY | os.O_APPEND)
            if not os.fstat(fd).st_size:
                _write(fd, said)
            os.close(fd)


def crashes(folder: Path, digest: str) -> list[str]:
    """What was said of the crashes that count against a version, the last one last."""
    now, found = time.time(), []
    for entry in _of(folder, digest):
        with contextlib.suppress(OSError):
            seen = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(seen.st_mode) and seen.st_size and abs(now - seen.st_mtime) < WINDOW_S:
                with open(entry.path, "rb") as file:
                    said = file.read(4 * MAX_WORDS_CHARS).decode(errors="replace").strip()
                found.append((seen.st_mtime, said.partition("\n")[0][:MAX_WORDS_CHARS]))
    return [said for _, said in sorted(found)]


def forget(folder: Path, digest: str = "", process: str = "") -> None:
    """Removes the files of one version, those of one process, or all."""
    for entry in _of(folder, digest, process):
        _remove(Path(entry.path))


def _create(folder: Path, digest: str, process: str) -> tuple[Path, int]:
    os.makedirs(folder, 0o700, exist_ok=True)
    for entry in _by_time(_of(folder))[: -MAX_FILES + 1]:
        _remove(Path(entry.path))
    path = folder / f"{digest}.{time.time_ns():020d}.{process}"
    return path, os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)


def _of(folder: Path, digest: str = "", process: str = "") -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [
                entry
                for entry in entries
                if (not digest or entry.name.startswith(f"{digest}."))
                and (not process or entry.name.endswith(f".{process}"))
            ]
    except OSError:
        return []


def _by_time(entries: list[os.DirEntry[str]]) -> list[os.DirEntry[str]]:
    """The oldest first."""
    return sorted(entries, key=lambda entry: entry.name.partition(".")[2])


def _write(fd: int, text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(fd, text.encode(errors="replace"))


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _is_crash(error: BaseException) -> bool:
    """Whether a bug, rather than the machine, is to blame; any other version would meet that too."""
    from pearrt.errors import Full

    if isinstance(error, BaseExceptionGroup):
        return any(map(_is_crash, error.exceptions))
    if isinstance(error, OSError):
        return error.errno not in _OF_THE_MACHINE
    return not isinstance(error, (MemoryError, Full))


def _words(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    said = f"{type(error).__name__}: {error}".partition("\n")[0]
    return "".join(letter if letter.isprintable() else "�" for letter in said)[:MAX_WORDS_CHARS]
