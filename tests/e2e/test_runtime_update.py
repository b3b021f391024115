"""The runtime's own key: five daemons follow it. What is signed by three and healthy runs on all of them
without a human, while they seed on and apps run on; what is not, on none, and they say why."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pearrt.app.drafting import Terms, draft_release
from pearrt.app.followed import read_index
from pearrt.crypto import ed25519, keyfile
from pearrt.link import Link
from pearrt.paths import Home
from pearrt.publish.draft import combine, sign
from pearrt.publish.publication import Publication
from pearrt.publish.withdraw import revoke
from pearrt.runtime.starts import MAX_CRASHES
from pearrt.store.service import Store
from pearrt.trust.envelope import seal
from pearrt.trust.metadata import key_id
from pearrt.trust.revocation import Action
from tests.support.hostile_seeder import HostileSeeder
from tests.support.machine import Machine, wait_for
from tests.support.runtime_fetcher import Fetcher
from tests.support.runtime_office import OwnMachine, Releases, adopt, clone, install, logs
from tests.support.team import NAMES, PASSWORD, Team, write_app

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]

OFFICE = 5
APP_BYTES = 1 << 20
WHOLE_KILLS = 6
ASKING = """
import json, os, socket, sys


def main():
    channel = socket.socket(fileno=int(os.environ["PEARRT_CHANNEL_FD"]))
    stream = channel.makefile("rb")
    for number, line in enumerate(sys.stdin):
        call = json.dumps({"id": number, "method": "app.info"}).encode()
        channel.sendall(len(call).to_bytes(4, "big") + call)
        answer = {}
        while answer.get("id") != number:
            answer = json.loads(stream.read(int.from_bytes(stream.read(4), "big")))
        print(number, answer["result"]["version"], flush=True)
"""


class Office:
    """Five machines that run pearrt 1.0.1 as its own release; the first one publishes it, and an app."""

    def __init__(self, new_home: Callable[[], Home], work: Path) -> None:
        self.running: list[subprocess.Popen[str]] = []
        settings = {"PEARRT_DHT": "0", "PEARRT_UPDATE_TRIAL_S": "2", "PEARRT_IDLE_EXIT_S": "none"}
        publisher = Machine(new_home(), **settings)
        self.releases = Releases(publisher, work)
        self.releases.release("1.0.1")
        publisher.daemon.install(self.releases.link, lambda _: None)
        address = publisher.daemon.status()["address"]
        publisher.stop()
        publisher.environ["PEARRT_HOSTS"] = "{}:{}".format(*address)
        first = adopt(publisher.home, self.releases.link, publisher.environ)
        self.machines = [first, *(clone(first, new_home()) for _ in range(OFFICE - 1))]
        self.releases.team.machine = first
        for machine in self.machines:
            machine.start()
        self.app = Team(
            Machine(new_home(), **settings, PEARRT_HOSTS=publisher.environ["PEARRT_HOSTS"]), _sub(work)
        )
        source = write_app(work / "app", data=os.urandom(APP_BYTES))
        (source / "hello.py").write_text(ASKING)
        self.app.machine.ok("daemon", "start")
        self.app.release(self.app.stage(source))
        for machine in self.machines:
            machine.ok("seed", self.app_link)

    @property
    def app_link(self) -> str:
        address = self.app.machine.daemon.status()["address"]
        return "{}?node={}:{}".format(self.app.link, *address)

    def fetcher(self, folder: Path) -> Fetcher:
        """A peer that fetches the app from these five alone."""
        publication = Publication.open(self.app.machine.home.publishing / Link.parse(self.app.link).key_text)
        [release] = publication.trusted.releases
        with Store(self.app.machine.home.store, read_only=True) as store:
            index = read_index(store, release.index_digest, release.index_blocks)
        hosts = [tuple(machine.daemon.status()["address"]) for machine in self.machines]
        return Fetcher(Link.parse(self.app.link), publication.metadata.encode(), index, hosts, folder)

    def start_app(self, machine: OwnMachine) -> subprocess.Popen[str]:
        self.running.append(
            subprocess.Popen(
                [str(machine.launcher), "run", "--yes", self.app_link],
                env=machine.environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return self.running[-1]

    def stop(self) -> None:
        for app in self.running:
            app.kill()
            app.communicate()
        for machine in [*self.machines, self.app.machine]:
            machine.stop()

    def all_settle(self, version: str) -> None:
        for machine in self.machines:
            wait_for(lambda m=machine: m.settled(version), f"{version}\n{logs(self.machines)}", 60)  # type: ignore[misc]
        assert [machine.version() for machine in self.machines] == [version] * OFFICE

    def all_refuse(self, version: str, reason: str) -> None:
        for machine in self.machines:
            wait_for(lambda m=machine: _failed(m, version) != "", f"the refusal of {version}", 60)  # type: ignore[misc]
            assert reason in _failed(machine, version)


def _sub(work: Path) -> Path:
    (work / "app-team").mkdir()
    return work / "app-team"


def _failed(machine: OwnMachine, version: str) -> str:
    """Why the machine refuses a version, as `pearrt versions` tells it."""
    found = machine.ok("versions")["versions"]
    return next((v["reason"] for v in found if v["version"] == version and v["standing"] == "failed"), "")


@pytest.fixture
def office(new_home: Callable[[], Home], tmp_path: Path) -> Iterator[Office]:
    made = Office(new_home, tmp_path)
    yield made
    made.stop()


def test_five_daemons_update_themselves_while_they_seed_and_refuse_what_is_unhealthy_or_badly_signed(
    office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = office.start_app(office.machines[1])
    assert _ask(running) == "0 1.0"
    pids = {machine.pid() for machine in office.machines}
    with office.fetcher(tmp_path / "sixth") as sixth:
        wait_for(lambda: sixth.fetched > 0, "the sixth peer to fetch")
        began = time.monotonic()
        office.releases.release("1.0.2")  # three of five sign; one machine publishes
        office.all_settle("1.0.2")
        took = time.monotonic() - began
        assert not pids & {machine.pid() for machine in office.machines}
        assert _ask(running) == "1 1.0", "an app that runs lost its daemon"

        office.releases.release("1.0.3", files={"pearrt/daemon/api.py": "raise RuntimeError('no API')\n"})
        office.all_refuse("1.0.3", "no API")
    assert sixth.failures == []
    assert sixth.fetched >= 20

    _offer_signed_by_two(office)
    office.all_settle("1.0.2")
    assert _ask(running) == "2 1.0"
    running.communicate(timeout=10)
    assert running.returncode == 0
    _step_back(office.machines[-1])
    _lose_a_library(office.machines[-2])
    _take_back(office)
    with capsys.disabled():
        print(f"\n  {OFFICE} daemons updated themselves in {took:.1f} s; then, and through a bad update,")
        print(
            f"  a sixth peer fetched {sixth.fetched} times ({sixth.fetched_bytes >> 20} MiB, slowest"
            f" {sixth.slowest_s:.2f} s) and asked {sixth.asked} times over HTTP: no failure"
        )


def _ask(app: subprocess.Popen[str]) -> str:
    assert app.stdin is not None
    assert app.stdout is not None
    app.stdin.write("\n")
    app.stdin.flush()
    return app.stdout.readline().strip()


def _offer_signed_by_two(office: Office) -> None:
    """1.0.4 is fine but for its signatures. The heartbeat's key is in the wrong hands too: all else is
    current and signed. The publishing command refuses, and so does every machine that is offered it."""
    team = office.releases.team
    digest = office.releases.stage("1.0.4")
    refused = team.machine.refused(
        "release", "publish", team.link, digest, "--version", "1.0.4", *team.keys(*NAMES[:2])
    )
    assert refused["code"] == "threshold-not-met"
    publication = Publication.open(team.machine.home.publishing / office.releases.link.key_text)
    draft = draft_release(
        publication.trusted, team.machine.home, [digest], Terms(version="1.0.4"), time.time()
    )
    seeds = [keyfile.unlock(team.machine.home.keys / f"{name}.key", PASSWORD) for name in NAMES[:2]]
    signatures = {key_id(ed25519.public_key(seed)): ed25519.sign(seed, draft.payload) for seed in seeds}
    targets = seal(draft.payload, signatures)
    forged = publication.heartbeat.beat(
        publication.metadata.roots, targets, time.time() + 5, publication.metadata
    )
    with HostileSeeder(team.link, forged.encode(), team.machine.home.store, {}) as hostile:
        for machine in office.machines[1:]:  # the first one publishes and asks nobody
            machine.daemon.launch(Link.parse(f"{team.link}?node={hostile.host}"))  # a link that brings a peer
        for machine in office.machines[1:]:
            wait_for(lambda m=machine: "2 of 3" in m.log(), f"the refusal\n{machine.log()}")  # type: ignore[misc]


@contextlib.contextmanager
def _one_machine(
    new_home: Callable[[], Home], work: Path, *, trial_s: int
) -> Iterator[tuple[OwnMachine, Releases]]:
    """A machine that runs 1.0.1, and where its next versions come from; both are stopped at the end."""
    settings = {"PEARRT_DHT": "0", "PEARRT_UPDATE_TRIAL_S": str(trial_s)}
    publisher = Machine(new_home(), **settings)
    releases = Releases(publisher, work)
    releases.release("1.0.1")
    host = "{}:{}".format(*publisher.daemon.status()["address"])
    user = Machine(new_home(), **settings, PEARRT_HOSTS=host)
    user.ok("daemon", "start")
    machine = install(user, releases.link, host)
    try:
        yield machine, releases
    finally:
        machine.stop()
        publisher.stop()


def test_whole_daemons_killed_in_an_update_come_back_as_the_old_version_or_the_new(
    new_home: Callable[[], Home], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with _one_machine(new_home, tmp_path, trial_s=1) as (machine, releases):
        releases.release("1.0.2")
        rng, kills = random.Random(), 0
        while (
            kills < WHOLE_KILLS
            and not (state := machine.state()).failed
            and state.name(state.current) == "1.0.1"
        ):
            machine.start()
            time.sleep(rng.uniform(0, 2))
            kills += _kill_one_of(machine, rng)
            said = machine.pearrt("--version").stdout
            assert said in ("pearrt, version 1.0.1\n", "pearrt 1.0.1\n", "pearrt 1.0.2\n"), said
        machine.start()
        wait_for(lambda: not machine.state().trial, "the end of the trial", 60)
        wait_for(lambda: machine.version() == machine.state().name(machine.state().current), "the daemon", 60)
        state = machine.state()
        assert machine.version() in ("1.0.1", "1.0.2")
        assert machine.ok("verify", str(releases.link))["differences"] == []
        wait_for(lambda: "is on trial" not in machine.ok("versions")["waits"], "word that the trial is over")
    with capsys.disabled():
        print(f"\n  {kills} kills of whole daemons in an update: {state.name(state.current)} runs")


def test_commands_are_answered_while_pearrt_updates_itself_under_them(
    new_home: Callable[[], Home], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several at once, before, in and after the trial: none fails, and none is held against the version."""
    over, done = threading.Event(), list[subprocess.CompletedProcess[str]]()
    with _one_machine(new_home, tmp_path, trial_s=2) as (machine, releases):
        link = str(releases.link)
        commands = ["list", f"info {link}", f"verify {link}", f"log {link}", "daemon start", "versions"]

        def ask(number: int) -> None:
            for command in itertools.cycle(commands[number:] + commands[:number]):
                if over.is_set():
                    return
                done.append(machine.pearrt(*command.split()))

        machine.start()
        askers = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        try:
            for asker in askers:
                asker.start()
            releases.release("1.0.2")
            wait_for(lambda: machine.settled("1.0.2"), f"1.0.2\n{machine.log()}", 90)
        finally:
            over.set()
            for asker in askers:
                asker.join()
    assert [each.stderr for each in done if each.returncode] == []
    with capsys.disabled():
        print(f"\n  {len(done)} commands while 1.0.2 took over: no failure")


def _step_back(machine: OwnMachine) -> None:
    """By the person's wish: the daemon makes way for 1.0.1, which stays, and 1.0.2 does not come back. What
    failed is tried again when asked for, and examined as strictly."""
    assert machine.ok("rollback")["version"] == "1.0.1"
    wait_for(lambda: machine.version() == "1.0.1", f"the version before\n{machine.log()}")
    pid = machine.pid()
    wait_for(lambda: len(_processes(machine)) == 1, f"the daemon before it to end\n{machine.log()}")
    assert machine.pid() == pid
    assert "stepped back" in _failed(machine, "1.0.2")
    assert "failed here" in machine.ok("update")["reason"]
    retried = machine.ok("update", "--retry")["reason"]
    assert "pearrt 1.0.3 is not taken" in retried
    assert "no API" in retried


def _lose_a_library(machine: OwnMachine) -> None:
    """Weeks after 1.0.2 stood its trial it starts no more: the third command that wants a daemon has one of
    1.0.1 again, is told why, and so is whoever asks."""
    machine.stop()
    shutil.rmtree(machine.folder.tree(machine.state().current) / "aiohttp")
    for _ in range(MAX_CRASHES - 1):
        assert "does not start" in machine.refused("daemon", "start")["message"]
    done = machine.pearrt("daemon", "start")
    assert done.returncode == 0
    assert "1.0.2 gives way to 1.0.1" in done.stderr
    assert machine.version() == "1.0.1"
    assert "No module named 'aiohttp'" in _failed(machine, "1.0.2")
    [line] = machine.ok("doctor")["runtime"]
    assert "1.0.2 is not run here" in line


def _take_back(office: Office) -> None:
    """1.0.2 is revoked where it runs: back to 1.0.1, as nothing healthy is named in its place."""
    team = office.releases.team
    publication = Publication.open(team.machine.home.publishing / office.releases.link.key_text)
    digest = bytes.fromhex(office.machines[0].state().current)
    draft = revoke(publication.trusted, [digest], Action.RETURN, "It loses blocks.", now=time.time())
    seeds = [keyfile.unlock(team.machine.home.keys / f"{name}.key", PASSWORD) for name in NAMES[:3]]
    blobs = {draft.role: combine(draft, [sign(draft, seed) for seed in seeds])}
    publication.commit_signed([draft], blobs, time.time())
    team.machine.daemon.publish(office.releases.link)
    for machine in office.machines[:-2]:
        wait_for(lambda m=machine: m.version() == "1.0.1", f"the version before\n{machine.log()}", 60)  # type: ignore[misc]
        assert "revoked it: It loses blocks." in _failed(machine, "1.0.2")


def _processes(machine: OwnMachine) -> list[int]:
    """All that run from the machine's trees."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and os.fsencode(machine.home.apps) in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def _kill_one_of(machine: OwnMachine, rng: random.Random) -> int:
    """kill -9 of any process of the machine: the daemon, its health check, the next daemon."""
    with contextlib.suppress(ProcessLookupError, IndexError):
        os.kill(rng.choice(_processes(machine)), signal.SIGKILL)
        return 1
    return 0
