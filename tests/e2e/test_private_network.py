"""A pre-shared key makes a network private: who lacks it meets nobody, even with the link and the address."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pearrt.paths import Home
from tests.support.machine import Machine
from tests.support.team import Team, write_app

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]


@pytest.fixture
def new_machine(new_home: Callable[[], Home], tmp_path: Path) -> Iterator[Callable[[str], Machine]]:
    machines: list[Machine] = []

    def make(key: str) -> Machine:
        settings = {"PEARRT_DHT": "0"}
        if key:
            file = tmp_path / f"psk-{len(machines)}"
            file.write_text(key + "\n")
            file.chmod(0o600)
            settings["PEARRT_PSK_FILE"] = str(file)
        machines.append(Machine(new_home(), **settings))
        return machines[-1]

    yield make
    for machine in machines:
        machine.stop()


def test_only_who_has_the_key_gets_the_app(new_machine: Callable[[str], Machine], tmp_path: Path) -> None:
    publisher, member = new_machine("11" * 32), new_machine("11" * 32)
    team = Team(publisher, tmp_path, threshold=1)
    team.release(team.stage(write_app(tmp_path / "app", "private")), "alice")
    address = publisher.daemon.status()["address"]
    host = "{}:{}".format(*address)
    assert member.run(team.link, options=("--yes", "--host", host)) == "private\n"

    for stranger in (new_machine(""), new_machine("22" * 32)):
        assert stranger.refused("run", "--yes", "--host", host, team.link)["code"] == "no-peers"

    connection = http.client.HTTPConnection(*address, timeout=10)
    key = team.link.removeprefix("pearrt://")
    connection.request("GET", f"/pearrt/v1/{key}/timestamp.json")
    assert connection.getresponse().status == 404, "a private network shows nothing by HTTP"
    connection.close()


def test_a_public_app_is_shown_by_http_on_the_same_port(
    new_machine: Callable[[str], Machine], tmp_path: Path
) -> None:
    publisher = new_machine("")
    team = Team(publisher, tmp_path, threshold=1)
    team.release(team.stage(write_app(tmp_path / "app")), "alice")
    connection = http.client.HTTPConnection(*publisher.daemon.status()["address"], timeout=10)
    key = team.link.removeprefix("pearrt://")
    connection.request("GET", f"/pearrt/v1/{key}/timestamp.json")
    answer = connection.getresponse()
    assert (answer.status, b'"_type":"timestamp"' in answer.read()) == (200, True)
    connection.close()
