"""A pre-shared key makes a network private: who lacks it meets nobody, even with the link and the address."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.machine import Machine
from tests.support.team import Team, write_app

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]


@pytest.fixture
def new_member(new_lone_machine: Callable[..., Machine], tmp_path: Path) -> Callable[[str], Machine]:
    """Makes machines of the private network with this key."""

    def make(key: str) -> Machine:
        file = tmp_path / f"psk-{key}"
        file.write_text(key + "\n")
        file.chmod(0o600)
        return new_lone_machine(PEARRT_PSK_FILE=str(file))

    return make


def test_only_who_has_the_key_gets_the_app(
    machine: Machine, new_member: Callable[[str], Machine], tmp_path: Path
) -> None:
    publisher, member = new_member("11" * 32), new_member("11" * 32)
    team = Team(publisher, tmp_path, threshold=1)
    team.release(team.stage(write_app(tmp_path / "app", "private")), "alice")
    address = publisher.daemon.status()["address"]
    host = "{}:{}".format(*address)
    assert member.run(team.link, options=("--yes", "--host", host)) == "private\n"

    strangers = [machine, new_member("22" * 32)]
    with ThreadPoolExecutor() as threads:  # each looks for as long as pearrt does
        errors = threads.map(lambda each: each.refused("run", "--yes", "--host", host, team.link), strangers)
        assert [error["code"] for error in errors] == ["no-peers"] * 2

    connection = http.client.HTTPConnection(*address, timeout=10)
    key = team.link.removeprefix("pearrt://")
    connection.request("GET", f"/pearrt/v1/{key}/timestamp.json")
    assert connection.getresponse().status == 404, "a private network shows nothing by HTTP"
    connection.close()


def test_a_public_app_is_shown_by_http_on_the_same_port(machine: Machine, team: Team, tmp_path: Path) -> None:
    team.release(team.stage(write_app(tmp_path / "app")), "alice")
    connection = http.client.HTTPConnection(*machine.daemon.status()["address"], timeout=10)
    key = team.link.removeprefix("pearrt://")
    connection.request("GET", f"/pearrt/v1/{key}/timestamp.json")
    answer = connection.getresponse()
    assert (answer.status, b'"_type":"timestamp"' in answer.read()) == (200, True)
    connection.close()
