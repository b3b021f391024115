"""Sneakernet: an app in a file is verified without any network, by the rules of the network."""

from __future__ import annotations

import time
import zipfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from pearrt.app.export import export
from pearrt.app.importing import import_file
from pearrt.app.progress import silent
from pearrt.bundle.pear_file import PearFile, write_pear
from pearrt.errors import (
    BadSignature,
    DigestMismatch,
    Equivocation,
    Expired,
    NoSuchApp,
    PearrtError,
    ProtocolViolation,
    Rollback,
    UserError,
)
from pearrt.link import encode_key
from pearrt.paths import Home
from pearrt.publish.heartbeat import Heartbeat
from pearrt.sandbox.policy import Permissions
from pearrt.trust.metadata_set import MetadataSet
from tests.support.app_here import Here, Team, running_apps
from tests.support.repository import flip


@dataclass(slots=True)
class Published:
    """Two releases of an app, each in a file."""

    team: Team
    first: Path
    second: Path

    @property
    def key(self) -> bytes:
        return self.team.link.app_key


@pytest_asyncio.fixture
async def published(new_home: Callable[[], Home], tmp_path: Path) -> Published:
    home = new_home()
    team = Team(home)
    async with running_apps(home) as here:
        await team.release(here, "1.0")
        await export(here.apps, [team.link], tmp_path / "first.pear", silent)
        await team.release(here, "2.0")
        await export(here.apps, [team.link], tmp_path / "second.pear", silent)
    return Published(team, tmp_path / "first.pear", tmp_path / "second.pear")


@pytest_asyncio.fixture
async def victim(home: Home) -> AsyncIterator[Here]:
    async with running_apps(home) as here:
        yield here


def rewritten(
    source: Path,
    target: Path,
    *,
    metadata: Callable[[MetadataSet], MetadataSet] = lambda same: same,
    without: Callable[[bytes], bool] = lambda _: False,
) -> Path:
    """The file with other metadata, or without some blocks."""
    with PearFile(source) as file:
        sets = {key: metadata(MetadataSet.decode(file.metadata(key))).encode() for key in file.apps}
        blocks = [(id_, file.block(id_)) for id_ in file.block_ids() if not without(id_)]
        write_pear(target, file.links, sets, blocks)
    return target


def with_false_block(source: Path, target: Path, position: int) -> Path:
    """The file with one byte of one block changed, and all checksums of the archive right."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        names = [name for name in old.namelist() if "/block/" in name]
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, flip(data, len(data) // 2) if name == names[position] else data)
    return target


def untouched(here: Here, published: Published) -> bool:
    folder = here.home.apps / encode_key(published.key)
    return not folder.exists() and not here.peer.store.pins() and not here.apps.followed


async def test_an_app_comes_by_file_alone_is_installed_and_is_seeded_onward(
    published: Published, victim: Here, new_home: Callable[[], Home], tmp_path: Path
) -> None:
    done = await import_file(victim.apps, published.second, silent)
    assert (done["name"], done["version"], done["link"]) == ("thing", "2.0", str(published.team.link))
    app = victim.apps.followed[published.key]
    installed = app.folder.installed
    assert installed is not None
    assert (app.folder.tree(installed.index_digest) / "thing.py").read_bytes() == b"print(1)\n"
    assert not app.members.peers  # nobody was asked

    async with running_apps(new_home()) as third:
        await third.apps.follow(published.team.link)
        third.knows(victim, published.team.link)
        got = await third.apps.install(published.team.link, silent, update=False, allow_stale=False)
        assert got["version"] == "2.0"
        assert third.apps.followed[published.key].members.bytes_from.keys() == {victim.peer.swarm.peer_id}


async def test_a_file_updates_an_app_and_the_release_before_it_is_kept(
    published: Published, victim: Here
) -> None:
    assert (await import_file(victim.apps, published.first, silent))["waiting"] is None
    assert (await import_file(victim.apps, published.second, silent))["waiting"] == "2.0"
    app = victim.apps.followed[published.key]
    await victim.apps.grant(published.key, Permissions.parse({}).digest())
    done = await import_file(victim.apps, published.second, silent, seed=True)
    assert (done["version"], done["waiting"]) == ("2.0", None)
    assert app.folder.previous is not None
    assert app.folder.previous.version == "1.0"
    assert app.seeding


async def test_an_older_file_after_a_newer_changes_nothing(published: Published, victim: Here) -> None:
    await import_file(victim.apps, published.second, silent)
    app = victim.apps.followed[published.key]
    before = (app.folder.trust, app.folder.installed)
    with pytest.raises(Rollback, match="older than what this machine trusts"):
        await import_file(victim.apps, published.first, silent)
    assert (app.folder.trust, app.folder.installed) == before


async def test_an_older_file_may_bring_the_blocks_of_what_is_trusted(
    published: Published, victim: Here
) -> None:
    app = await victim.apps.follow(published.team.link)
    published.team.publication = published.team.publication.refresh(time.time() + 5)
    app.accept(published.team.publication.metadata.encode(), allow_stale=False)
    trusted = app.folder.trust
    assert (await import_file(victim.apps, published.second, silent))["version"] == "2.0"
    assert app.folder.trust == trusted


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
async def test_a_flipped_byte_in_the_metadata_installs_nothing(
    published: Published, victim: Here, tmp_path: Path, role: str
) -> None:
    def bend(good: MetadataSet) -> MetadataSet:
        blob = getattr(good, role)
        return replace(good, **{role: flip(blob, len(blob) // 2)})

    file = rewritten(published.second, tmp_path / "bad.pear", metadata=bend)
    with pytest.raises((BadSignature, DigestMismatch, ProtocolViolation)):
        await import_file(victim.apps, file, silent)
    assert untouched(victim, published)


async def test_a_file_whose_metadata_belongs_to_another_link_installs_nothing(
    published: Published, victim: Here, new_home: Callable[[], Home], tmp_path: Path
) -> None:
    other = Team(new_home()).publication.metadata
    file = rewritten(published.second, tmp_path / "bad.pear", metadata=lambda _: other)
    with pytest.raises(DigestMismatch, match="another link"):
        await import_file(victim.apps, file, silent)
    assert untouched(victim, published)


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_a_false_block_installs_nothing_although_the_archive_is_right(
    published: Published, victim: Here, tmp_path: Path, position: int
) -> None:
    file = with_false_block(published.second, tmp_path / "bad.pear", position)
    with pytest.raises(DigestMismatch):
        await import_file(victim.apps, file, silent)
    assert untouched(victim, published)


async def test_a_file_that_lacks_blocks_installs_nothing(
    published: Published, victim: Here, tmp_path: Path
) -> None:
    release = published.team.publication.trusted.release()
    assert release is not None
    lacking = rewritten(
        published.second, tmp_path / "lacking.pear", without=lambda id_: id_ not in release.index_blocks
    )
    with pytest.raises(ProtocolViolation, match=r"lacks \d+ of the \d+ blocks"):
        await import_file(victim.apps, lacking, silent)
    empty = rewritten(published.second, tmp_path / "empty.pear", without=lambda _: True)
    with pytest.raises(PearrtError):
        await import_file(victim.apps, empty, silent)
    assert untouched(victim, published)


async def test_a_cut_off_or_random_file_is_refused(
    published: Published, victim: Here, tmp_path: Path
) -> None:
    data = published.second.read_bytes()
    for number, bad in enumerate((data[:-10], data[: len(data) // 2], b"", b"PK" + bytes(5000))):
        path = tmp_path / f"{number}.pear"
        path.write_bytes(bad)
        with pytest.raises(ProtocolViolation):
            await import_file(victim.apps, path, silent)
    with pytest.raises(UserError):
        await import_file(victim.apps, tmp_path / "none.pear", silent)
    assert untouched(victim, published)


async def test_two_files_that_contradict_each_other_leave_a_proof(
    published: Published, victim: Here, tmp_path: Path
) -> None:
    await import_file(victim.apps, published.second, silent)
    heartbeat = published.team.heartbeat
    stolen = replace(heartbeat, period_s=heartbeat.period_s + 1)
    now = time.time() + 60

    def beat(key: Heartbeat) -> Callable[[MetadataSet], MetadataSet]:
        return lambda good: key.beat(good.roots, good.targets, now, good)

    await import_file(
        victim.apps, rewritten(published.second, tmp_path / "a.pear", metadata=beat(heartbeat)), silent
    )
    with pytest.raises(Equivocation):
        await import_file(
            victim.apps, rewritten(published.second, tmp_path / "b.pear", metadata=beat(stolen)), silent
        )
    assert victim.apps.followed[published.key].folder.equivocation is not None


async def test_a_stale_file_takes_the_persons_yes(
    published: Published, victim: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time() + 40 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(Expired, match="last confirmed"):
        await import_file(victim.apps, published.second, silent)
    assert untouched(victim, published)
    done = await import_file(victim.apps, published.second, silent, allow_stale=True)
    assert done["version"] == "2.0"


async def test_a_file_may_carry_several_apps_and_the_first_is_installed(
    published: Published, victim: Here, new_home: Callable[[], Home], tmp_path: Path
) -> None:
    home = new_home()
    other = Team(home)
    both = tmp_path / "both.pear"
    async with running_apps(home) as here:
        await other.release(here, "7")
        await import_file(here.apps, published.second, silent)
        await export(here.apps, [published.team.link, other.link], both, silent)
    done = await import_file(victim.apps, both, silent)
    assert done["apps"] == [str(published.team.link), str(other.link)]
    second = victim.apps.followed[other.link.app_key]
    assert second.folder.installed is None
    (bundle,) = second.members.swarm.bundles
    assert bundle.ours.complete  # ready to be installed, and given onward


async def test_what_is_exported_twice_is_the_same_file(
    published: Published, victim: Here, tmp_path: Path
) -> None:
    await import_file(victim.apps, published.second, silent)
    await export(victim.apps, [published.team.link], tmp_path / "again.pear", silent)
    assert (tmp_path / "again.pear").read_bytes() == published.second.read_bytes()


async def test_an_app_that_the_file_does_not_hold_is_no_such_app(published: Published) -> None:
    with PearFile(published.second) as file, pytest.raises(NoSuchApp):
        file.metadata(bytes(32))
