"""An office: hosts on one LAN with no way out, no DHT and nothing configured. They find each other by
mDNS."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pearrt.paths import Home
from tests.support.machine import Machine, wait_for
from tests.support.namespaces import Lan
from tests.support.require import require
from tests.support.team import Team, write_app

pytestmark = [pytest.mark.lab, pytest.mark.e2e, pytest.mark.sandbox]


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    require("ip")
    if os.geteuid() != 0:
        pytest.skip("making network namespaces needs root")
    with Lan(4) as lan:
        yield lan


@pytest.fixture
def office(lan: Lan, new_home: Callable[[], Home]) -> Iterator[list[Machine]]:
    machines = []
    for host in lan.hosts:
        settings = {"PEARRT_MDNS": "all", "PEARRT_DHT": "0", "PEARRT_LISTEN": f"{lan.address(host)}:0"}
        machines.append(Machine(new_home(), prefix=("ip", "netns", "exec", host), **settings))
        machines[-1].ok("daemon", "start")  # inside the namespace
    yield machines
    for machine in machines:
        machine.stop()


def test_a_lan_without_internet_publishes_runs_and_updates(office: list[Machine], tmp_path: Path) -> None:
    publisher, *users = office
    team = Team(publisher, tmp_path)
    source = write_app(tmp_path / "app", "one", data=os.urandom(2 << 20))
    team.release(team.stage(source))
    for user in users:
        assert user.run(team.link) == "one\n"

    write_app(source, "two")
    team.release(team.stage(source), version="2")
    for user in users:
        wait_for(lambda user=user: user.info(team.link)["version"] == "2", "the update in the LAN", 20)
    publisher.kill()
    users[0].ok("uninstall", "--yes", team.link)
    users[0].ok("gc")
    assert users[0].run(team.link) == "two\n"
