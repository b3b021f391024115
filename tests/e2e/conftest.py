"""Machines of end-to-end tests, each with a home of its own; all are stopped at the end of their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from pearrt.paths import Home
from tests.support.machine import Machine
from tests.support.network import TestnetThread
from tests.support.team import Team


@pytest.fixture(scope="module")
def net() -> Iterator[TestnetThread]:
    """The test module's own DHT."""
    with TestnetThread() as net:
        yield net


@pytest.fixture
def new_lone_machine(new_home: Callable[[], Home]) -> Iterator[Callable[..., Machine]]:
    """Makes machines that find nobody by themselves: a link's hints, --host or settings say who is there."""
    machines: list[Machine] = []

    def make(**settings: str) -> Machine:
        machines.append(Machine(new_home(), **({"PEARRT_DHT": "0"} | settings)))
        return machines[-1]

    yield make
    for machine in machines:
        machine.stop()


@pytest.fixture
def new_machine(new_lone_machine: Callable[..., Machine], net: TestnetThread) -> Callable[..., Machine]:
    """Makes machines that find each other through the DHT."""
    return partial(new_lone_machine, PEARRT_DHT="1", PEARRT_BOOTSTRAP=net.bootstrap)


@pytest.fixture
def machine(new_lone_machine: Callable[..., Machine]) -> Machine:
    return new_lone_machine()


@pytest.fixture
def team(machine: Machine, tmp_path: Path) -> Team:
    """On that machine; any one of the five signs alone."""
    return Team(machine, tmp_path, threshold=1)
