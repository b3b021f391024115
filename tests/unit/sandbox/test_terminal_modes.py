"""Who has the person's terminal, as data."""

from __future__ import annotations

import itertools
import sys

import pytest

if sys.platform == "win32":
    pytest.skip("not applicable: terminals", allow_module_level=True)

import termios

from pearrt.sandbox import terminal_modes as modes
from pearrt.sandbox.terminal_modes import Mode, Part, Share, ended_line, first, is_raw, raw, share, stops

WHOLE, PIPED_OUT, PIPED_IN = Part(True, True), Part(False, True), Part(False, False)
LOCAL = termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN


def mode(local: int = LOCAL, output: int = termios.OPOST | termios.ONLCR) -> Mode:
    characters: list[bytes | int] = [b"\0"] * 32
    characters[termios.VSUSP], characters[termios.VEOF] = b"\x1a", b"\x04"
    return [termios.ICRNL | termios.IXON, output, 0, local, 15, 15, characters]


PLAIN, KEYS, SECRET = mode(), mode(LOCAL & ~termios.ICANON), mode(LOCAL & ~termios.ECHO)


@pytest.mark.parametrize("part", [WHOLE, PIPED_OUT, PIPED_IN])
@pytest.mark.parametrize("apps", [PLAIN, KEYS, SECRET])
@pytest.mark.parametrize("persons", [PLAIN, KEYS])
def test_in_the_background_nothing_is_read_nor_made_raw(part: Part, apps: Mode, persons: Mode) -> None:
    assert share(part, persons, apps, foreground=False) == Share(raw=False, reads=False, writes=True)


def test_where_the_terminal_says_so_nothing_is_written_from_the_background() -> None:
    quiet = mode(LOCAL | termios.TOSTOP)
    assert not share(WHOLE, quiet, PLAIN, foreground=False).writes
    assert share(WHOLE, quiet, PLAIN, foreground=True).writes


@pytest.mark.parametrize(
    ("part", "persons", "apps", "expected"),
    [
        (WHOLE, PLAIN, PLAIN, (True, True)),
        (PIPED_OUT, PLAIN, PLAIN, (False, True)),
        (PIPED_OUT, KEYS, PLAIN, (False, False)),  # a pager has taken it
        (PIPED_IN, PLAIN, PLAIN, (False, False)),  # lines are for who is before the pipe
        (PIPED_OUT, PLAIN, SECRET, (True, True)),
        (PIPED_IN, PLAIN, KEYS, (True, True)),
    ],
)
def test_beside_a_pipe_the_terminal_is_anothers_until_the_app_asks_for_keys(
    part: Part, persons: Mode, apps: Mode, expected: tuple[bool, bool]
) -> None:
    found = share(part, persons, apps, foreground=True)
    assert (found.raw, found.reads) == expected


@pytest.mark.parametrize("part", [WHOLE, PIPED_OUT])
def test_raw_passes_every_key_on_and_leaves_the_mode_that_it_was_made_of(part: Part) -> None:
    before = mode()
    made = raw(part, before, PLAIN)
    assert before == mode()
    assert is_raw(made)
    assert not made[0] & (termios.ICRNL | termios.IXON)
    assert bool(made[1] & termios.OPOST) == (part is not WHOLE)
    assert not raw(part, before, mode(output=0))[1] & termios.OPOST


def test_the_apps_terminal_begins_as_the_persons_but_not_as_a_pager_made_it() -> None:
    assert first(WHOLE, KEYS) == KEYS
    assert first(PIPED_OUT, KEYS) == PLAIN


def test_a_stop_is_typed_where_signals_are() -> None:
    for local, typed in itertools.product((LOCAL, LOCAL & ~termios.ISIG), (b"ab\x1a", b"ab")):
        assert stops(typed, mode(local)) == (bool(local & termios.ISIG) and b"\x1a" in typed)
    off = mode()
    off[6][termios.VSUSP] = b"\0"
    assert not stops(b"\0", off)


def test_a_line_that_ctrl_d_ended_is_ended_by_it_again() -> None:
    assert [ended_line(line, PLAIN) for line in (b"a\n", b"a", b"")] == [b"a\n", b"a\x04", b"\x04"]


def test_a_line_is_ended_once_by_two_terminals() -> None:
    assert modes.once_ended(b"a\r\nb\r", PLAIN) == b"a\nb\r"
    assert modes.once_ended(b"a\r\n", mode(output=0)) == b"a\r\n"
