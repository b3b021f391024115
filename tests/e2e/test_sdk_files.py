"""Files and the clipboard, from inside the sandbox to a person at a terminal and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.machine import Machine
from tests.support.team import Team
from tests.support.terminal import at_terminal, publish

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]

APP = """
import asyncio, os
from pearrt import sdk

def show(call):
    try:
        print("got:", call(), flush=True)
    except sdk.Error as e:
        print("error:", e.code, e, flush=True)

def read(file):
    with file:
        return file.name, file.readable(), file.writable(), file.read().decode()

def save():
    with sdk.files.open("The copy", mode="save", name="../copy.txt") as file:
        return file.name, file.write(b"copied")

def main():
    show(lambda: read(sdk.files.open("The letter\\x1b[2J to read")))
    show(lambda: read(asyncio.run(sdk.aio.files.open("Another"))))
    show(save)
    show(lambda: read(sdk.files.open("None")))
    show(lambda: sdk.clipboard.write("to be pasted"))
    show(lambda: sdk.clipboard.write("to be\\x1b[201~obeyed"))
    show(sdk.clipboard.read)
    show(lambda: asyncio.run(sdk.aio.clipboard.read()))
    print("bye", flush=True)
"""


@pytest.fixture
def machine(new_lone_machine: Callable[..., Machine], tmp_path: Path) -> Machine:
    machine = new_lone_machine(DISPLAY=":9")
    machine.environ.pop("WAYLAND_DISPLAY", None)
    board = tmp_path / "board"
    machine.put_program(tmp_path / "bin", "xclip", f"[ $3 = -in ] && cat > {board} || cat {board}")
    return machine


def test_the_person_chooses_each_file_and_says_yes_to_each_look_at_the_clipboard(
    machine: Machine, team: Team, tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    publish(team, APP, "1.0", "files = true\nclipboard = true")
    with at_terminal(machine, team.link) as terminal:
        shown = terminal.until("Run it? [y/N]:")
        assert "open and save files that you pick, one by one" in shown
        assert "not granted" not in shown
        terminal.type("y\n")
        asked = terminal.until("or nothing for none: ")
        assert "asks asks to open a file: The letter\N{REPLACEMENT CHARACTER}[2J to read. Which one?" in asked
        terminal.type(f"{tmp_path}/letter.txt\n")
        terminal.until("got: ('letter.txt', True, False, 'dear')")
        terminal.until("or nothing for none: ")
        terminal.type(f"{machine.home.data}/identity\n")
        terminal.until("belongs to pearrt itself")
        assert "asks asks to save a file: The copy. Which one (copy.txt)?" in terminal.until("for none: ")
        terminal.type(f"{tmp_path}/letter.txt\n")
        terminal.until("Replace it? [y/N] ")
        terminal.type("y\n")
        terminal.until("got: ('letter.txt', 6)")
        terminal.until("or nothing for none: ")
        terminal.type("\n")
        terminal.until("error: denied The person chose no file.")
        terminal.until("got: None")
        terminal.until("error: user-error")
        terminal.until("asks asks to read the text on your clipboard. Allow it? [y/N] ")
        terminal.type("y\n")
        terminal.until("got: to be pasted")
        terminal.until("Allow it? [y/N] ")
        terminal.type("\n")
        terminal.until("error: denied")
        terminal.until("bye")
        assert terminal.process.wait(10) == 0
    assert (tmp_path / "letter.txt").read_text() == "copied"


def test_without_a_terminal_no_file_is_given(machine: Machine, team: Team, tmp_path: Path) -> None:
    publish(team, APP, "1.0", "files = true\nclipboard = true")
    shown = machine.run(team.link)
    assert shown.count("There is no terminal to ask the person on.") == 6
    assert "got: None" in shown
