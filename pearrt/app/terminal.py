"""A question to the person in the middle of an app's run, on their terminal.

Rules: the app does not see the answer and does not write over the question. It has a terminal of its own, and
nothing passes between the two meanwhile. Others of the job (`pearrt run x | tee log`) do pass on what the app
says: so the question is asked by a process in a group of its own that the terminal's foreground is given to,
and the terminal stops who writes to it from behind. What was typed before the question is thrown away: an
answer comes after it. It can be seen: what the app left of colours, margins, half an escape sequence or
halted output is undone first. Whatever happens, the terminal's mode is put back as it was.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import termios
from collections.abc import Iterator

from pearrt.errors import Denied
from pearrt.sandbox.host import inspect
from pearrt.sandbox.supervise import terminal_free

NOBODY = "There is no terminal to ask the person on."

# Runs with the terminal as its standard input; gives what was typed on its standard output.
_ASK = """
import os, select, signal, sys, termios
text, timeout_s = sys.argv[1], float(sys.argv[2])
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
os.tcsetpgrp(0, os.getpgrp())
mode = termios.tcgetattr(0)
mode[0] |= termios.ICRNL
mode[1] |= termios.OPOST | termios.ONLCR
mode[3] |= termios.ICANON | termios.ECHO | termios.ISIG | termios.TOSTOP
termios.tcflow(0, termios.TCOON)
termios.tcsetattr(0, termios.TCSAFLUSH, mode)
os.write(0, text.encode())
answer = b""
try:
    if select.select([0], [], [], timeout_s)[0]:
        answer = os.read(0, 4096)
except KeyboardInterrupt:
    pass
if not answer.endswith(b"\\n"):
    os.write(0, b"\\n")
    answer = b""
os.write(1, answer)
"""

# ECMA-48, DEC STD 070 and xterm's ctlseqs: end any string or sequence, synchronized update off, soft reset,
# normal letters in their normal size and set, the palette and the cursor back, nothing below.
_SEEN = (
    "\x18\x1b\\\x1b[?2026l\x1b[!p\x1b[0m\x0f\x1b(B\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b[?5l\x1b[?25h"
)
_BELOW = "\r\n\x1b#5\x1b[J"


def ask(question: str, *, timeout_s: float) -> bool:
    """The person's yes or no; no answer in time is a no. Else as `ask_line`."""
    return ask_line(f"{question} [y/N]", timeout_s=timeout_s).lower() in ("y", "yes")


def ask_line(question: str, *, timeout_s: float) -> str:
    """The line that the person types, without spaces around it; "" where none comes in time. `question` is
    one line of printable text.

    Call it from a thread that has every signal blocked. Raises Denied where there is no terminal, or the job
    is in its background.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as e:
        raise Denied(NOBODY, hint="Run the app in a terminal.") from e
    try:
        with _taken(terminal):
            asked = subprocess.run(
                [inspect().interpreter, "-I", "-S", "-c", _ASK, f"{_fresh()}{question} ", str(timeout_s)],
                stdin=terminal,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                process_group=0,
                timeout=timeout_s + 10,
                check=False,
            )
    except (OSError, termios.error, subprocess.TimeoutExpired) as e:
        raise Denied("The terminal would not take the question.") from e
    finally:
        os.close(terminal)
    if asked.returncode != 0:
        raise Denied("The terminal would not take the question.")
    return os.fsdecode(asked.stdout).strip()


def _fresh() -> str:
    """What makes the next line show whatever it says."""
    return "\n" if os.environ.get("TERM", "dumb") in ("", "dumb") else _SEEN + _BELOW


@contextlib.contextmanager
def _taken(terminal: int) -> Iterator[None]:
    """The terminal without the app, and back as it was."""
    group = os.tcgetpgrp(terminal)
    if group != os.getpgrp():
        raise Denied("The app is not in the foreground of its terminal.", hint="Bring it there with `fg`.")
    with terminal_free():
        mode = termios.tcgetattr(terminal)
        try:
            yield
        finally:
            # Allowed from the background, as this thread blocks SIGTTOU (tcsetpgrp(3), termios(3)).
            with contextlib.suppress(OSError, termios.error):
                os.tcsetpgrp(terminal, group)
                termios.tcsetattr(terminal, termios.TCSADRAIN, mode)
    with contextlib.suppress(OSError):
        os.killpg(group, signal.SIGCONT)  # others of the job may have been stopped for the terminal
