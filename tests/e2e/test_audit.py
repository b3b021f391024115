"""The commands of an audit, as a sceptical person would use them: log, verify, reproduce, attest."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pearrt.app.freshness import salt_of
from pearrt.dht.service import DhtService
from pearrt.link import HostPort, Link, topic_of
from pearrt.paths import Home
from pearrt.publish.publication import Publication
from tests.support.machine import Machine, wait_for
from tests.support.network import TestnetThread
from tests.support.team import Team, write_app

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]


def test_log_verify_reproduce_and_attest(machine: Machine, tmp_path: Path) -> None:
    team = Team(machine, tmp_path, threshold=2)
    source = write_app(tmp_path / "app", "one")
    team.release(team.stage(source), "alice", "bob")
    first = shutil.copytree(source, tmp_path / "first")
    write_app(source, "two")
    team.release(team.stage(source), "bob", "carol", version="2.0")
    machine.run(team.link)

    log = machine.ok("log", team.link)
    assert [entry["signed_by"] for entry in log["entries"]] == [
        ["alice", "bob"],
        ["alice", "bob"],
        ["bob", "carol"],
    ]
    shown = machine.pearrt("log", team.link).stdout
    assert "hello 1.0 (stable/any" in shown
    assert "signed by bob, carol (2 needed)" in shown

    verified = machine.ok("verify", team.link)
    assert (verified["sequence"], verified["signed_by"]) == (3, ["bob", "carol"])
    file = tmp_path / "app.pear"
    machine.ok("export", team.link, file)
    assert machine.ok("verify", file)["apps"][0]["threshold"] == 2
    machine.ok("dump", team.link, tmp_path / "dumped")
    assert machine.ok("verify", tmp_path / "dumped", "--link", team.link)["version"] == "2.0"
    (tmp_path / "dumped" / "hello.py").write_text("evil\n")
    assert machine.refused("verify", tmp_path / "dumped", "--link", team.link)["code"] == "digest-mismatch"
    assert machine.refused("verify", tmp_path / "dumped")["code"] == "user-error"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert machine.refused("verify", file)["code"] == "protocol-violation"

    assert machine.ok("reproduce", team.link, "--from", source)["outcome"] == "identical"
    other = machine.pearrt("reproduce", team.link, "--from", str(first))
    assert other.returncode == 4
    assert "ANOTHER bundle" in other.stdout
    assert "~ hello.py" in other.stdout

    sent = tmp_path / "alice.json"
    options = ("--from", source, "--output", sent, *team.keys("alice"))
    assert machine.ok("attest", team.link, *options)["same"]
    (kept,) = machine.ok("attest", team.link, "--list")
    assert (kept["signer"], kept["outcome"], kept["digest"]) == ("alice", "identical", verified["digest"])
    Path(machine.home.data / "attestations").rename(tmp_path / "elsewhere")
    assert machine.ok("attest", team.link, "--add", sent) == [kept]
    sent.write_bytes(sent.read_bytes().replace(b"ident", b"other"))
    assert machine.refused("attest", team.link, "--add", tmp_path / "none")["code"] == "user-error"


def test_a_machine_without_peers_learns_from_the_dht_that_its_app_is_current(
    new_machine: Callable[[], Machine], net: TestnetThread, tmp_path: Path
) -> None:
    """The publisher's heartbeat lies in the DHT; nobody who could confirm it is reachable as a peer."""
    publisher, user = new_machine(), new_machine()
    team = Team(publisher, tmp_path, threshold=1)
    team.release(team.stage(write_app(tmp_path / "app")), "alice")
    publisher.ok("export", team.link, tmp_path / "app.pear")
    asyncio.run(_lies_in_the_dht(team.link, publisher.home, net.bootstrap))
    publisher.kill()
    user.ok("import", tmp_path / "app.pear")
    user.run(team.link)
    wait_for(lambda: user.info(team.link)["in_dht"], "the heartbeat out of the DHT")
    info = user.info(team.link)
    assert (info["freshness"], info["peers"], info["confirmed_by"]) == ("fresh", [], 0)
    assert "by the DHT" in user.pearrt("info", team.link).stdout


async def _lies_in_the_dht(link: str, home: Home, bootstrap: str) -> None:
    """Waits until the publisher's timestamp can be found."""
    key = Link.parse(link)
    trusted = Publication.open(home.publishing / key.key_text).trusted
    (heartbeat,) = trusted.root.authorities["timestamp"].signers.values()
    nodes = [HostPort.parse(text) for text in bootstrap.split(",")]
    async with asyncio.timeout(30), DhtService(bind=("127.0.0.1", 0), bootstrap=nodes) as dht:
        salt = salt_of(topic_of(key.app_key))
        while await dht.get_mutable(heartbeat.public, salt=salt) is None:
            await asyncio.sleep(0.2)
