"""kill -9 at random points of a self-update: download, unpack and switch, and the hand-over between two
daemons. A version that is named can always be started, whole; nothing that failed is; somebody serves."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pearrt.link import Link
from pearrt.runtime import state as states
from pearrt.runtime.layout import RuntimeFolder, command
from pearrt.runtime.state import RuntimeState
from tests.support.runtime_mini import write_stub

LINK = str(Link(b"r" * 32))
A, B = "a" * 64, "b" * 64
SWITCH_KILLS = 176
HANDOVER_KILLS = 26


def test_killed_while_it_downloads_unpacks_and_switches_a_whole_version_runs(
    survive: Callable[..., list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    unpacking, on_trial, other = survive("runtime_crash", str(SWITCH_KILLS))
    assert unpacking + on_trial + other == SWITCH_KILLS
    assert unpacking >= 10, "the kills did not spread"
    with capsys.disabled():
        print(f"\n  {SWITCH_KILLS} kills of an update: {unpacking} while unpacking, {on_trial} on trial")


class Pair:
    """Two versions in one home: A is confirmed, B is to take over."""

    def __init__(self, home: Path, *, falls: bool) -> None:
        self.home = home
        self.folder = RuntimeFolder(home)
        self.folder.edit(lambda _: states.install(RuntimeState(), LINK, A, "A"))
        write_stub(self.folder.tree(A))
        write_stub(self.folder.tree(B), falls=falls)

    def start(self) -> subprocess.Popen[bytes]:
        """As a launcher does: what the state names is started, and counted where it is on trial."""
        line = command(self.home, self.folder.choose().runs, [], module="pearrt.daemon")
        return subprocess.Popen(line, stderr=subprocess.DEVNULL, start_new_session=True)

    def answer(self) -> str:
        """Who answers; "" where nobody does."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(10)
            try:
                connection.connect(str(self.home / "sock"))
                return connection.recv(100).decode()
            except OSError:
                return ""

    def processes(self) -> list[int]:
        """All that run from this home's trees."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and os.fsencode(self.home) in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found

    def kill_all(self) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _until(condition: object, what: str, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.01)


def _one_hand_over(pair: Pair, rng: random.Random) -> tuple[str, bool]:
    """Kills one of the processes at a random moment of a hand-over from A to B. Who runs in the end, and
    whether the kill came in the middle."""
    first = pair.start()
    _until(lambda: pair.answer() == A, "A to serve")
    pair.folder.edit(lambda state: states.begin(state, B, "B", retry=True))
    time.sleep(rng.uniform(0, 0.7))
    victims, in_the_middle = pair.processes(), bool(pair.folder.read().trial)
    with contextlib.suppress(ProcessLookupError, IndexError):
        os.kill(rng.choice(victims), signal.SIGKILL)
    last: subprocess.Popen[bytes] | None = None

    def settled() -> bool:
        nonlocal last
        state = pair.folder.read()
        if not state.trial and pair.answer() == state.current:
            return True
        if not pair.processes() or (last is not None and last.poll() is not None and not pair.answer()):
            if last is not None:
                last.wait()
            last = pair.start()
            time.sleep(0.05)
        return False

    first_ended = first
    _until(lambda: first_ended.poll() is not None or settled(), "the hand-over")
    _until(settled, "a version that stays")
    state = pair.folder.read()
    assert state.current not in state.failed
    pair.kill_all()
    for process in filter(None, (first, last)):
        process.wait()
    _until(lambda: not pair.processes(), "the processes to go")
    return "B" if state.current == B else "A", in_the_middle


@pytest.mark.parametrize("falls", [False, True], ids=["a good version", "a version that falls over"])
def test_killed_in_a_hand_over_somebody_serves_and_the_rest_goes_by_the_state(
    memory: Path, falls: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random()
    ended, in_the_middle = {"A": 0, "B": 0}, 0
    for number in range(HANDOVER_KILLS // 2):
        pair = Pair(memory / str(number), falls=falls)
        runs, middle = _one_hand_over(pair, rng)
        ended[runs] += 1
        in_the_middle += middle
    assert not (falls and ended["B"]), "a version that does not stay up was kept"
    with capsys.disabled():
        kills, new = sum(ended.values()), ended["B"]
        print(f"\n  {kills} kills of hand-overs, {in_the_middle} in the middle: {new} ended on the new one")
