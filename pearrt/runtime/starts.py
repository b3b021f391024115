"""Starts of the confirmed version that ended in a crash, counted until one is seen to be well. Standard
library only.

    <data>/runtime/starts/<digest>.<time>.<process>   one file for a start that is under way or crashed

A daemon makes its file empty and open before anything of it is loaded. Only a crash writes into it: an
exception that nobody caught, in `Start.watching`; a fatal signal such as SIGSEGV, through faulthandler, from
inside the dying process; or whoever started it and saw how it ended. An empty file counts for nothing, so
that a kill, Ctrl-C, a machine switched off, a full disk and an error that was told are no crash by
construction, and there is no moment at which kill -9 leaves a wrong count. A daemon that has stayed up for
HEALTHY_AFTER_S removes all files.

A command costs nothing: where its program cannot be loaded (ImportError, SyntaxError) it leaves a file, and a
later command that ends well removes those.

MAX_CRASHES of them within WINDOW_S, with no sign of health between, and `RuntimeFolder.choose` lets the
version before it run. The folder is this user's alone, under no app's eyes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

MAX_CRASHES = 3  # as many as a version on trial has
WINDOW_S = 7 * 86_400
HEALTHY_AFTER_S = 600.0
MAX_WORDS = 300
MAX_READ_BYTES = 4096
MAX_FILES = 64
COMMAND = "command"  # in the place of the process, for a program that could not be loaded

# The machine's fault, not the version's: it would meet any other too.
_MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
_BY_SOMEBODY = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGKILL, *map(signal.Signals, ())})


class Start:
    """The start of one daemon, in its own process."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def begin(cls, folder: Path, digest: str) -> Start | None:
        """None where nothing can be written: then nothing is counted."""
        try:
            path, fd = _create(folder, digest, str(os.getpid()))
        except OSError:
            return None
        return cls(path, fd)
