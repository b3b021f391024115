"""Starts of a version that ended in a crash, counted until one is seen to be well. Standard library only.

    <data>/runtime/starts/<digest>.<time>.<process>   one file for a daemon's start

A daemon makes its file, empty and open, before any of its program is loaded. Only a crash writes into it: an
exception that nobody caught; a fatal signal such as SIGSEGV, through faulthandler, out of the dying process;
or the command that started it and saw it end without a word. An empty file counts for nothing. So a kill,
Ctrl-C, a machine that was switched off and an error that was told are no crash by construction, and kill -9
finds no moment that leaves a wrong count. What the machine is to blame for, such as a full disk, is none
either. A daemon that has stayed up for HEALTHY_AFTER_S removes all files.

A version on trial has to be better than that. Its daemon holds a lock on its file, so that one which died
without a word can be told from one that runs; that counts, and so does an error that was told.

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
import sys
import time
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":  # where no version is put on trial
    import fcntl

MAX_CRASHES = 3  # as many as a version on trial has
WINDOW_S = 7 * 86_400
HEALTHY_AFTER_S = 600.0
MAX_FILES = 64
MAX_WORDS_CHARS = 300
COMMAND = "command"  # in the place of the process
EXIT_LOCKED = 75  # EX_TEMPFAIL of sysexits.h: another daemon has this home, and that is no fault

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
def watched(folder: Path, digest: str, *, on_trial: bool = False) -> Iterator[None]:
    """Around the whole program of a daemon, in its own process. Where nothing can be written, nothing is
    counted; OSError for a version on trial, which must not run uncounted."""
    try:
        path, fd = _create(folder, digest, str(os.getpid()))
    except OSError:
        if on_trial:
            raise
        yield
        return
    import faulthandler

    faulthandler.enable(fd, all_threads=False)  # which keeps to this descriptor to the end of the process
    try:
        yield
    except Exception as e:
        if _is_crash(e):
            _write(fd, _words(e))
        else:
            _remove(path)
        raise
    except BaseException as e:  # it ended by its own will, or by somebody's
        code = e.code if on_trial and isinstance(e, SystemExit) else 0
        if code in (None, 0, EXIT_LOCKED):
            _remove(path)
        else:
            _write(fd, _exit_code(code))
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


def saw_end(folder: Path, process: int, code: int, *, trial: str = "") -> None:
    """Whoever started a daemon saw it end with this exit code, or by the signal `-code`. Counted where that
    was no kill and the daemon itself had nothing to say; against the `trial` also where it did not even come
    to make its file."""
    if code in _KILLS:
        return
    said = f"it was ended by signal {-code}" if code < 0 else _exit_code(code)
    files = _by_time(_of(folder, process=str(process)))[-1:]
    with contextlib.suppress(OSError):
        if files:
            fd = os.open(files[0].path, os.O_WRONLY | os.O_APPEND)
        elif trial:
            _, fd = _create(folder, trial, str(process))
        else:
            return
        if not os.fstat(fd).st_size:
            _write(fd, said)
        os.close(fd)


def crashes(folder: Path, digest: str, *, on_trial: bool = False) -> list[str]:
    """What was said of the crashes that count against a version, the last one last."""
    now, found = time.time(), []
    for entry in _of(folder, digest):
        with contextlib.suppress(OSError):
            seen = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(seen.st_mode) or abs(now - seen.st_mtime) >= WINDOW_S:
                continue
            with open(entry.path, "rb") as file:
                said = file.read(4 * MAX_WORDS_CHARS).decode(errors="replace").strip().partition("\n")[0]
                if not said and on_trial and not _is_locked(file.fileno()):
                    said = "it ended without a word"
            if said:
                found.append((seen.st_mtime, said[:MAX_WORDS_CHARS]))
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
    new = folder / f"new.{os.getpid()}"  # nobody sees it without its lock
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if sys.platform != "win32":
            fcntl.flock(fd, fcntl.LOCK_EX)
        new.rename(path)
    except BaseException:
        os.close(fd)
        raise
    return path, fd


def _is_locked(fd: int) -> bool:
    """Whether the process that made this file still runs."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


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


def _exit_code(code: object) -> str:
    return f"it ended with exit code {code}"


def _words(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    said = f"{type(error).__name__}: {error}".partition("\n")[0]
    return "".join(letter if letter.isprintable() else "�" for letter in said)[:MAX_WORDS_CHARS]
