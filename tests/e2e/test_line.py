"""The whole line with real processes: each machine a PEARRT_HOME, only PEARRT_BOOTSTRAP given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.machine import PEARRT, Machine, wait_for
from tests.support.team import Team, write_app

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]


def test_an_app_runs_by_its_key_is_seeded_onward_updated_and_survives_its_seeder(
    new_machine: Callable[..., Machine], tmp_path: Path
) -> None:
    publisher, first, second = new_machine(), new_machine(), new_machine()
    team = Team(publisher, tmp_path)
    source = write_app(tmp_path / "app", "one", data=os.urandom(3 << 20))
    team.release(team.stage(source))

    assert first.run(team.link, "a", "--flag") == "one a --flag\n"
    info = first.ok("info", team.link)
    assert (info["threshold"], len(info["signers"]), info["version"]) == (3, 5, "1.0")
    assert info["freshness"] == "fresh"
    assert len(info["peers"]) == 1

    write_app(source, "two")
    team.release(team.stage(source), version="2.0")
    wait_for(lambda: first.info(team.link)["version"] == "2.0", "the update by gossip", 20)
    assert first.run(team.link) == "two\n"
    assert first.info(team.link)["previous"] == "1.0"

    publisher.kill()
    assert second.run(team.link) == "two\n"
    sources = second.info(team.link)["sources"]
    assert set(sources) == {first.daemon.status()["peer_id"]}


def test_two_signatures_of_three_publish_nothing(new_machine: Callable[..., Machine], tmp_path: Path) -> None:
    publisher = new_machine()
    team = Team(publisher, tmp_path)
    team.release(team.stage(write_app(tmp_path / "app", "one")))
    digest = team.stage(write_app(tmp_path / "app", "two"))
    error = publisher.refused(
        "release", "publish", team.link, digest, "--version", "2", *team.keys("alice", "bob")
    )
    assert error["code"] == "threshold-not-met"
    assert "carol" in error["hint"]
    assert publisher.info(team.link)["newest"] == "1.0"


def test_without_a_terminal_and_without_yes_nothing_runs(
    machine: Machine, team: Team, tmp_path: Path
) -> None:
    team.release(team.stage(write_app(tmp_path / "app")), "alice")
    done = machine.pearrt("run", team.link)
    assert done.returncode == 7
    assert done.stdout == ""
    assert "--yes" in done.stderr


def test_the_exit_code_and_the_streams_are_the_apps(machine: Machine, team: Team, tmp_path: Path) -> None:
    source = tmp_path / "app"
    source.mkdir()
    (source / "tool.py").write_text(
        "import sys\ndef main():\n    print(sys.stdin.read().upper())\n"
        "    print('talk', file=sys.stderr)\n    sys.exit(7)\n"
    )
    digest = team.stage(source, "--name", "tool", "--version", "1", "--entry", "tool:main")
    team.release(digest, "alice")
    done = machine.pearrt("run", "--yes", team.link, stdin="quiet")
    assert (done.returncode, done.stdout) == (7, "QUIET\n")
    assert done.stderr.endswith("talk\n")


def test_an_app_keeps_its_private_data_over_updates_and_runs(
    machine: Machine, team: Team, tmp_path: Path
) -> None:
    source = tmp_path / "app"
    source.mkdir()
    (source / "note.py").write_text(
        "import os, pathlib\n"
        "def main():\n"
        "    file = pathlib.Path(os.environ['PEARRT_DATA']) / 'n'\n"
        "    n = int(file.read_text()) + 1 if file.exists() else 1\n"
        "    file.write_text(str(n)); print(n)\n"
    )
    options = ("--name", "note", "--entry", "note:main", "--version")
    team.release(team.stage(source, *options, "1"), "alice")
    assert [machine.run(team.link), machine.run(team.link)] == ["1\n", "2\n"]
    (source / "more.txt").write_text("x")
    team.release(team.stage(source, *options, "2"), "alice")
    assert machine.run(team.link, options=("--yes", "--update")) == "3\n"
    assert machine.info(team.link)["version"] == "2"


def test_a_release_that_asks_for_more_waits_for_a_yes_and_the_old_one_runs(
    machine: Machine, team: Team, tmp_path: Path
) -> None:
    source = write_app(tmp_path / "app", "one")
    team.release(team.stage(source), "alice")
    assert machine.run(team.link) == "one\n"
    write_app(source, "two")
    (source / "pyproject.toml").write_text(
        (source / "pyproject.toml").read_text() + '\n[tool.pearrt.permissions]\nmemory = "8 GiB"\n'
    )
    team.release(team.stage(source), "alice", version="2")
    assert machine.run(team.link, options=()) == "one\n"
    wait_for(lambda: machine.info(team.link)["pending"] == "2", "the update to wait")
    assert machine.run(team.link, options=()) == "one\n"
    assert machine.run(team.link, options=("--yes", "--update")) == "two\n"


def test_kill_9_of_the_daemon_loses_nothing(machine: Machine, team: Team, tmp_path: Path) -> None:
    team.release(team.stage(write_app(tmp_path / "app")), "alice")
    assert machine.run(team.link) == "hello from the app\n"
    machine.kill()
    assert machine.run(team.link) == "hello from the app\n"
    assert machine.ok("verify", team.link)["differences"] == []


def test_a_file_changed_on_disk_is_found_by_verify(machine: Machine, team: Team, tmp_path: Path) -> None:
    team.release(team.stage(write_app(tmp_path / "app")), "alice")
    machine.run(team.link)
    [changed] = machine.home.apps.glob("*/releases/*/hello.py")
    changed.chmod(0o644)
    changed.write_text("evil")
    assert machine.refused("verify", team.link)["code"] == "digest-mismatch"


def test_uninstall_and_gc_free_the_disk(new_machine: Callable[..., Machine], tmp_path: Path) -> None:
    publisher, machine = new_machine(), new_machine()
    team = Team(publisher, tmp_path, threshold=1)
    team.release(team.stage(write_app(tmp_path / "app", data=os.urandom(1 << 20))), "alice")
    machine.run(team.link)
    assert machine.ok("list")[0]["name"] == "hello"
    machine.ok("uninstall", "--yes", team.link)
    assert machine.refused("uninstall", "--yes", team.link)["code"] == "no-such-app"
    assert machine.ok("list") == []
    assert machine.ok("gc")["freed_bytes"] > 1 << 20
    assert machine.daemon.status()["store"]["blocks"] == 0


def test_seed_keeps_an_app_without_installing_it(new_machine: Callable[..., Machine], tmp_path: Path) -> None:
    publisher, cache, user = new_machine(), new_machine(), new_machine()
    team = Team(publisher, tmp_path, threshold=1)
    team.release(team.stage(write_app(tmp_path / "app")), "alice")
    assert cache.ok("seed", team.link)["seeding"] is True
    assert cache.info(team.link)["version"] is None
    publisher.kill()
    assert user.run(team.link) == "hello from the app\n"


def test_a_configured_host_is_enough_without_dht_and_multicast(
    new_machine: Callable[..., Machine], tmp_path: Path
) -> None:
    publisher = new_machine()
    team = Team(publisher, tmp_path, threshold=1)
    team.release(team.stage(write_app(tmp_path / "app")), "alice")
    host = "{}:{}".format(*publisher.daemon.status()["address"])
    user = new_machine(PEARRT_DHT="0", PEARRT_BOOTSTRAP="none")
    assert user.run(team.link, options=("--yes", "--host", host)) == "hello from the app\n"


def test_nobody_there_is_said_with_the_next_step(new_machine: Callable[..., Machine]) -> None:
    from pearrt.link import Link

    error = new_machine().refused("run", "--yes", str(Link(os.urandom(32))))
    assert error["code"] == "no-peers"
    assert "--host" in error["hint"]


def test_many_commands_race_to_start_one_daemon(new_machine: Callable[..., Machine]) -> None:
    machine = new_machine()
    command = [*PEARRT, "daemon", "start", "--json"]
    racers = [
        subprocess.Popen(command, env=machine.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    outputs = [racer.communicate(timeout=60)[0] for racer in racers]
    pids = {json.loads(output)["result"]["pid"] for output in outputs}
    assert len(pids) == 1


def test_an_idle_daemon_ends_by_itself(new_machine: Callable[..., Machine]) -> None:
    machine = new_machine(PEARRT_IDLE_EXIT_S="1")
    machine.ok("daemon", "start")
    wait_for(lambda: not machine.daemon.running(), "the idle daemon to end", 15)
    assert machine.pearrt("daemon", "status").returncode == 1


def test_another_users_connection_is_refused(new_machine: Callable[..., Machine]) -> None:
    if os.geteuid() != 0:
        pytest.skip("not applicable here: only root can become somebody else")
    machine = new_machine()
    machine.ok("daemon", "start")
    for folder in (machine.home.data.parent, machine.home.data, machine.home.runtime):
        folder.chmod(0o755)
    machine.home.socket.chmod(0o666)
    code = (
        "import os, socket\nos.setgid(65534); os.setuid(65534)\n"
        f"s = socket.socket(socket.AF_UNIX); s.connect({str(machine.home.socket)!r})\n"
        "s.sendall(b'GET /v1/status HTTP/1.1\\r\\nHost: pearrt\\r\\n\\r\\n'); print(s.recv(4096).decode())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert '"code": "denied"' in done.stdout
    assert "peer_id" not in done.stdout
