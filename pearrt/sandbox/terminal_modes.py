"""Who has the person's terminal, and in which mode: what the relay of `pty_relay.py` goes by. Pure.

A job in the foreground that nobody else has a part in has the terminal whole: raw, every key is the app's.
With a pipe beside it, the terminal may be another's (`pearrt run x | less`): it stays as it is until the app
asks for more than lines on its own terminal; lines are read where they are the app's input and nobody took
the terminal for single keys. In the background nothing is read, nor written where the terminal says so
(TOSTOP).
"""

from __future__ import annotations

import termios
from dataclasses import dataclass
from typing import Any

Mode = list[Any]  # as termios.tcgetattr gives it
_INPUT, _OUTPUT, _LOCAL, _CHARACTERS = 0, 1, 3, 6
_BY_LINE = termios.ICANON | termios.ECHO
_INPUT_CHANGES = (
    termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR
    | termios.IGNCR | termios.ICRNL | termios.IXON | termios.IXOFF
)  # fmt: skip
_LOCAL_CHANGES = termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN


@dataclass(frozen=True, slots=True)
class Part:
    """Which of an app's standard descriptors are the person's terminal. `whole`: its input is, and no pipe
    stands beside it. `reads`: its input is."""

    whole: bool
    reads: bool


@dataclass(frozen=True, slots=True)
class Share:
    """What is done with the person's terminal now."""

    raw: bool
    reads: bool
    writes: bool


NOTHING = Share(raw=False, reads=False, writes=False)


def share(part: Part, persons: Mode, apps: Mode, *, foreground: bool) -> Share:
    """`persons` and `apps` are the modes of the two terminals; of the person's, the one that it has while it
    is not raw."""
    asks = apps[_LOCAL] & _BY_LINE != _BY_LINE
    raw = foreground and (part.whole or asks)
    lines = foreground and part.reads and bool(persons[_LOCAL] & termios.ICANON)
    return Share(raw, raw or lines, foreground or not persons[_LOCAL] & termios.TOSTOP)


def first(part: Part, persons: Mode) -> Mode:
    """What the app's terminal begins with: as the person's, but for what another program of the job may have
    made of it already."""
    changed = _copy(persons)
    if not part.whole:
        changed[_INPUT] |= termios.ICRNL
        changed[_LOCAL] |= _BY_LINE | termios.ISIG | termios.IEXTEN
    return changed


def raw(part: Part, mode: Mode, apps: Mode) -> Mode:
    """That mode with every key passed on at once, as cfmakeraw(3). What others of the job write is turned
    into lines as long as the app's own output is."""
    changed = _copy(mode)
    changed[_INPUT] &= ~_INPUT_CHANGES
    changed[_LOCAL] &= ~_LOCAL_CHANGES
    if part.whole or not apps[_OUTPUT] & termios.OPOST:
        changed[_OUTPUT] &= ~termios.OPOST
    changed[_CHARACTERS][termios.VMIN], changed[_CHARACTERS][termios.VTIME] = 1, 0
    return changed


def _copy(mode: Mode) -> Mode:
    return [*mode[:_CHARACTERS], list(mode[_CHARACTERS])]


def is_raw(mode: Mode) -> bool:
    return not mode[_LOCAL] & _LOCAL_CHANGES


def once_ended(said: bytes, mode: Mode) -> bytes:
    """What the app's terminal made of its output, for one of that mode, which ends lines itself."""
    makes = termios.OPOST | termios.ONLCR
    return said.replace(b"\r\n", b"\n") if mode[_OUTPUT] & makes == makes else said


def stops(typed: bytes, mode: Mode) -> bool:
    """Whether a terminal of that mode answers what is typed with a stop (SIGTSTP)."""
    key = mode[_CHARACTERS][termios.VSUSP]
    return bool(mode[_LOCAL] & termios.ISIG) and key not in (b"\0", 0) and key in typed


def ended_line(line: bytes, mode: Mode) -> bytes:
    """What was read of a terminal in line mode, for another one: without an end of line it was ended by
    Ctrl-D."""
    return line if line.endswith(b"\n") else line + bytes(mode[_CHARACTERS][termios.VEOF])
