"""Questions in the middle of a run, on the terminal that the app has: a pseudo-terminal and a person."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.machine import Machine, wait_for
from tests.support.team import Team
from tests.support.terminal import Terminal, at_terminal, publish

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]

APP = """
import subprocess, sys, threading, time
from pearrt import sdk

RUDE = '''
import os, signal, time
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
signal.signal(signal.SIGTTIN, signal.SIG_IGN)
while True:
    os.write(1, b"NOISE")
    try:
        os.tcsetpgrp(0, os.getpgrp())
    except OSError:
        pass
    time.sleep(0.01)
'''


def main():
    answers = []

    def read():
        for line in sys.stdin:
            answers.append(line)
            print("app read", line.strip(), flush=True)

    threading.Thread(target=read, daemon=True).start()
    def make_noise():
        for _ in range(50):
            print("NOISE", flush=True)
            time.sleep(0.01)

    noisy = threading.Thread(target=make_noise)
    noisy.start()
    rude = subprocess.Popen([sys.executable, "-c", RUDE])
    for url in ("https://example.com/one", "https://example.com/two"):
        try:
            sdk.open_url(url)
            print("opened", flush=True)
        except sdk.Error as e:
            print("error:", e, flush=True)
    rude.kill()
    rude.wait()
    noisy.join()
    print("type", flush=True)
    while not answers:
        time.sleep(0.01)
    print("bye", flush=True)
"""


@pytest.fixture
def machine(new_lone_machine: Callable[..., Machine], tmp_path: Path) -> Machine:
    machine = new_lone_machine()
    machine.put_program(tmp_path / "bin", "xdg-open", f'printf "%s\\n" "$@" >> {tmp_path}/opened')
    return machine


def test_a_page_is_opened_after_a_yes_alone_and_the_app_neither_answers_nor_interrupts(
    machine: Machine, team: Team, tmp_path: Path
) -> None:
    publish(team, APP, "1.0", "")
    with at_terminal(machine, team.link) as terminal:
        _talk(terminal)
    assert (tmp_path / "opened").read_text() == "https://example.com/one\n"


def _talk(terminal: Terminal) -> None:
    terminal.until("Run it? [y/N]:")
    terminal.type("y\n")
    terminal.until("asks asks to open https://example.com/one in your browser. Open it? [y/N] ")
    assert terminal.shown_for(0.3) == ""
    terminal.type("y\n")
    terminal.until("opened")
    terminal.until("asks asks to open https://example.com/two in your browser. Open it? [y/N] ")
    terminal.type("no thanks\n")
    terminal.until("error: The person did not want the page opened.")
    before = terminal.until("type")
    assert "app read" not in before
    terminal.type("for the app\n")
    terminal.until("app read for the app")
    terminal.until("bye")
    assert terminal.process.wait(10) == 0


def test_a_wider_update_is_asked_about_once_and_the_old_version_runs_on_after_a_no(
    machine: Machine, team: Team, tmp_path: Path
) -> None:
    publish(team, "print('one')", "1.0", "")
    assert machine.run(team.link) == "one\n"
    publish(team, "print('two')", "2.0", "notify = true")
    wait_for(lambda: machine.info(team.link)["pending"] == "2.0", "the update to wait")
    with at_terminal(machine, team.link) as terminal:
        shown = terminal.until("Run it? [y/N]:")
        assert "an update that asks for more than you approved" in shown
        assert "+ show notifications on your desktop, which is new" in shown
        assert "which is new" not in shown.replace("desktop, which is new", "")
        terminal.type("n\n")
        terminal.until("one")
    with at_terminal(machine, team.link) as terminal:
        assert "Run it?" not in terminal.until("one")
    with at_terminal(machine, "--update", team.link) as terminal:
        terminal.until("Run it? [y/N]:")
        terminal.type("y\n")
        assert "asks was updated: 1.0 -> 2.0" in terminal.until("two")
