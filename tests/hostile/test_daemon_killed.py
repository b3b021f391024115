"""Daemons that are killed and stopped again and again while commands ask them: nobody who asks notices."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable

import pytest

from pearrt.errors import PearrtError
from pearrt.paths import Home
from tests.support.machine import Machine

ENDS = 16
ASKERS = 3


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # it is to outlive us
def test_whoever_asks_is_answered_whatever_becomes_of_the_daemon(
    new_home: Callable[[], Home], capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(new_home(), PEARRT_DHT="0")
    over, answers, errors = threading.Event(), [0] * ASKERS, list[PearrtError]()

    def ask(number: int) -> None:
        while not over.is_set():
            try:
                answers[number] += machine.daemon.status()["pid"] > 0
            except PearrtError as e:
                errors.append(e)

    askers = [threading.Thread(target=ask, args=(number,)) for number in range(ASKERS)]
    try:
        pid = machine.pid()
        for thread in askers:
            thread.start()
        rng = random.Random()
        for _ in range(ENDS):
            time.sleep(rng.uniform(0, 0.2))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, rng.choice([signal.SIGKILL, signal.SIGTERM]))
            pid = machine.pid()
    finally:
        over.set()
        for thread in askers:
            thread.join()
        machine.stop()
    assert errors == []
    assert min(answers) >= ENDS
    with capsys.disabled():
        print(f"\n  {ENDS} daemons ended under {ASKERS} who asked: {sum(answers)} answers")
