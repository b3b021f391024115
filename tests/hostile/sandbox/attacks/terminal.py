"""The person's terminal, which is standard error here, while the app's job is in its background and they type
for another program.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import termios
import time

from attacks.harness import attack, refuse

ERROR, TIOCSCTTY = 2, 0x540E


def _persons(t: dict) -> int:
    """A descriptor of the person's terminal, wherever one is left."""
    for fd in (ERROR, os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)):
        if os.fstat(fd).st_rdev == t["terminal"]:
            return fd
    return refuse("another terminal")


@attack
def hold_the_persons_terminal(t: dict) -> object:
    return _persons(t) == ERROR


@attack
def read_in_the_background_what_the_person_types(t: dict) -> object:
    """The kernel stops who does, or refuses it, but in a session of their own."""
    os.setsid()
    if not select.select([ERROR], [], [], 1)[0]:
        refuse("nothing was typed")
    return os.read(ERROR, 4096).index(b"typed") or "read"


@attack
def take_the_foreground_of_the_persons_terminal(t: dict) -> object:
    """The kernel allows it to a process that ignores SIGTTOU."""
    terminal = _persons(t)
    before = os.tcgetpgrp(terminal)
    child = os.fork()
    if child == 0:
        time.sleep(5)
        os._exit(0)
    os.setpgid(child, child)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(terminal, child)
    taken = os.tcgetpgrp(terminal) == child
    os.tcsetpgrp(terminal, before)
    os.kill(child, signal.SIGKILL)
    return taken or refuse("not taken")


@attack
def turn_off_the_echo_of_the_persons_terminal(t: dict) -> object:
    terminal = _persons(t)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    mode = termios.tcgetattr(terminal)
    mode[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, mode)
    return "off"


@attack
def flush_what_the_person_typed(t: dict) -> object:
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    termios.tcflush(_persons(t), termios.TCIFLUSH)
    return "flushed"


@attack
def halt_the_output_of_the_persons_terminal(t: dict) -> object:
    terminal = _persons(t)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    termios.tcflow(terminal, termios.TCOOFF)
    termios.tcflow(terminal, termios.TCOON)
    return "halted"


@attack
def steal_the_persons_terminal_for_a_session_of_its_own(t: dict) -> object:
    """Root can; last, as the person's session has none from then on."""
    terminal = _persons(t)
    os.setsid()
    fcntl.ioctl(terminal, TIOCSCTTY, 1)
    return os.tcgetpgrp(terminal) == os.getpgrp() or refuse("not stolen")
