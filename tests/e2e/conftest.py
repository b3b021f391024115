"""Machines that find each other through a DHT of the test module's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from pearrt.paths import Home
from tests.support.machine import Machine
from tests.support.network import TestnetThread


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    with TestnetThread() as net:
        yield net.bootstrap


@pytest.fixture
def new_machine(new_home: Callable[[], Home], bootstrap: str) -> Iterator[Callable[..., Machine]]:
    machines: list[Machine] = []

    def make(**settings: str) -> Machine:
        machines.append(Machine(new_home(), bootstrap, **settings))
        return machines[-1]

    yield make
    for machine in machines:
        machine.stop()
