"""A hostile seeder changes what it serves: it is refused with the right error, nothing is unpacked, and what
was installed still runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pearrt.app.followed import read_index
from pearrt.bundle.index import Index
from pearrt.link import Link
from pearrt.paths import Home
from pearrt.publish.publication import Publication
from pearrt.store.service import Store
from pearrt.trust.metadata_set import MetadataSet
from tests.support.hostile_seeder import HostileSeeder
from tests.support.machine import Machine
from tests.support.team import Team, write_app

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]

TRUST_ERRORS = {
    "bad-signature",
    "threshold-not-met",
    "digest-mismatch",
    "trust-error",
    "protocol-violation",
    "rollback",
    "expired",
}


@dataclass
class Published:
    """What a publisher made: metadata before and after its second release, and the store that holds both."""

    link: str
    first: MetadataSet
    second: MetadataSet
    store: Path
    bundles: dict[bytes, tuple[list[bytes], list[bytes]]]
    indexes: list[Index]

    def seeder(
        self, metadata: MetadataSet, tamper: Callable[[bytes, bytes], bytes] = lambda _, data: data
    ) -> HostileSeeder:
        return HostileSeeder(self.link, metadata.encode(), self.store, self.bundles, tamper)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    work = tmp_path_factory.mktemp("publisher")
    home = Home.at(Path("/tmp") / f"prt-{os.getpid()}-hostile")
    home.prepare()
    publisher = Machine(home)
    try:
        team = Team(publisher, work)
        source = write_app(work / "app", "one", data=os.urandom(600_000))
        team.release(team.stage(source))
        folder = home.publishing / Link.parse(team.link).key_text
        first = Publication.open(folder).metadata
        write_app(source, "two")
        team.release(team.stage(source), version="2.0")
        second = Publication.open(folder)
        publisher.stop()
        indexes, bundles = [], {}
        releases = [
            second.trusted.release(),
            Publication.open(folder).trusted.update(second.metadata, 0).release(),
        ]
        with Store(home.store, read_only=True) as store:
            for record in sorted((home.data / "staged").glob("*.json")):
                import json

                fields = json.loads(record.read_bytes())
                ids = tuple(map(bytes.fromhex, fields["index_blocks"]))
                index = read_index(store, bytes.fromhex(fields["digest"]), ids)
                indexes.append(index)
                bundles[bytes.fromhex(fields["digest"])] = (list(ids), [block.id for block in index.blocks])
        assert all(releases)
        yield Published(team.link, first, second.metadata, home.store, bundles, indexes)
    finally:
        publisher.stop()
        shutil.rmtree(home.data, ignore_errors=True)


@pytest.fixture
def victim(machine: Machine) -> Machine:
    return machine


def unpacked(machine: Machine) -> list[Path]:
    return [path for path in machine.home.apps.glob("*/releases/*") if not path.name.startswith(".")]


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets"])
@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_a_flipped_byte_in_any_metadata_is_refused(
    published: Published, victim: Machine, role: str, where: float
) -> None:
    good = published.second
    if role == "root":
        bad = replace(good, roots=(flip(good.roots[0], int(len(good.roots[0]) * where)),))
    else:
        blob = getattr(good, role)
        bad = replace(good, **{role: flip(blob, int(len(blob) * where))})
    with published.seeder(bad) as seeder:
        error = victim.refused("run", "--yes", "--host", seeder.host, published.link)
    assert error["code"] in TRUST_ERRORS
    assert unpacked(victim) == []


def test_a_flipped_byte_in_the_index_is_refused(published: Published, victim: Machine) -> None:
    index_blocks = {block_id for ids, _ in published.bundles.values() for block_id in ids}

    def tamper(block_id: bytes, data: bytes) -> bytes:
        return flip(data, len(data) // 2) if block_id in index_blocks else data

    with published.seeder(published.second, tamper) as seeder:
        error = victim.refused("run", "--yes", "--host", seeder.host, published.link)
    assert error["code"] == "digest-mismatch"
    assert unpacked(victim) == []


def test_a_flipped_byte_in_a_block_is_refused(published: Published, victim: Machine) -> None:
    index_blocks = {block_id for ids, _ in published.bundles.values() for block_id in ids}

    def tamper(block_id: bytes, data: bytes) -> bytes:
        return data if block_id in index_blocks else flip(data, len(data) - 1)

    with published.seeder(published.second, tamper) as seeder:
        error = victim.refused("run", "--yes", "--host", seeder.host, published.link)
    assert error["code"] == "digest-mismatch"
    assert unpacked(victim) == []


def test_an_older_release_after_a_newer_is_refused_and_the_newer_still_runs(
    published: Published, victim: Machine
) -> None:
    with published.seeder(published.second) as seeder:
        assert victim.run(published.link, options=("--yes", "--host", seeder.host)) == "two\n"
    with published.seeder(published.first) as seeder:
        error = victim.refused("run", "--yes", "--update", "--host", seeder.host, published.link)
    assert error["code"] == "rollback"
    assert victim.run(published.link) == "two\n"
    assert victim.info(published.link)["version"] == "2.0"


def test_valid_metadata_of_another_app_is_refused_for_this_link(
    published: Published, victim: Machine
) -> None:
    other = str(Link(os.urandom(32)))
    with HostileSeeder(other, published.second.encode(), published.store, published.bundles) as seeder:
        error = victim.refused("run", "--yes", "--host", seeder.host, other)
    assert error["code"] in TRUST_ERRORS
    assert unpacked(victim) == []


def test_an_honest_peer_beside_a_hostile_one_is_enough(published: Published, victim: Machine) -> None:
    with (
        published.seeder(published.second, lambda _, data: flip(data, 0)) as hostile,
        published.seeder(published.second) as honest,
    ):
        hosts = ("--host", hostile.host, "--host", honest.host)
        assert victim.run(published.link, options=("--yes", *hosts)) == "two\n"
