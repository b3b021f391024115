"""`verify` hashes everything again, from the link on, and takes nothing for granted."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from pearrt.app.export import export
from pearrt.app.importing import import_file
from pearrt.app.progress import silent
from pearrt.app.verify import verify_file
from pearrt.bundle.pear_file import PearFile, write_pear
from pearrt.errors import Corrupt, DigestMismatch, NoSuchApp, PearrtError, ProtocolViolation, TrustError
from pearrt.paths import Home
from pearrt.sandbox.policy import Permissions
from pearrt.store.layout import Layout
from tests.support.app_here import Here, Team, running_apps


@pytest_asyncio.fixture
async def here(home: Home) -> AsyncIterator[Here]:
    async with running_apps(home) as here:
        yield here


@pytest_asyncio.fixture
async def team(new_home: Callable[[], Home], here: Here, tmp_path: Path) -> Team:
    """Two releases, both of which were installed here; the first is in the log alone by now."""
    home = new_home()
    team = Team(home, signers=3, threshold=2)
    async with running_apps(home) as publisher:
        for version in ("1.0", "2.0"):
            await team.release(publisher, version)
            await export(publisher.apps, [team.link], tmp_path / f"{version}.pear", silent)
    await import_file(here.apps, tmp_path / "1.0.pear", silent)
    await here.apps.grant(team.link.app_key, Permissions.parse({}).digest())
    await import_file(here.apps, tmp_path / "2.0.pear", silent)
    return team


def tree(here: Here, team: Team) -> Path:
    folder = here.apps.followed[team.link.app_key].folder
    assert folder.installed is not None
    return folder.tree(folder.installed.index_digest)


async def test_an_installed_app_is_verified_from_the_link_on(here: Here, team: Team) -> None:
    found = await here.apps.verify(team.link.app_key)
    assert (found["version"], found["sequence"], found["signed_by"]) == ("2.0", 3, ["s1", "s2"])
    assert (found["files"], found["differences"]) == (2, [])


async def test_the_release_before_is_verified_by_the_log(here: Here, team: Team) -> None:
    app = here.apps.followed[team.link.app_key]
    app.folder.step_back()
    found = await here.apps.verify(team.link.app_key)
    assert (found["version"], found["sequence"]) == ("1.0", 2)


async def test_a_changed_an_added_and_a_missing_file_are_named(here: Here, team: Team) -> None:
    folder = tree(here, team)
    (folder / "thing.py").chmod(0o644)
    (folder / "thing.py").write_bytes(b"print(2)\n")
    folder.chmod(0o755)
    (folder / "more").write_bytes(b"")
    (folder / "data").unlink()
    found = await here.apps.verify(team.link.app_key)
    assert found["differences"] == ["data: missing", "more: unexpected", "thing.py: content"]


async def test_what_no_signed_statement_names_is_refused(here: Here, team: Team) -> None:
    """Someone who can write to the disk puts another tree, with a record and an index of its own."""
    app = here.apps.followed[team.link.app_key]
    installed = app.folder.installed
    assert installed is not None
    app.folder.switch(replace(installed, index_digest="ab" * 32))
    with pytest.raises(TrustError, match="No signed statement"):
        await here.apps.verify(team.link.app_key)


async def test_a_trusted_state_that_was_tampered_with_is_refused(here: Here, team: Team) -> None:
    app = here.apps.followed[team.link.app_key]
    state = app.folder.trust
    assert state is not None
    app.folder.trust = state.replace(b'"2.0"', b'"2.1"')
    with pytest.raises(Corrupt):
        await here.apps.verify(team.link.app_key)


async def test_a_damaged_index_block_is_refused(home: Home, here: Here, team: Team) -> None:
    app = here.apps.followed[team.link.app_key]
    assert app.folder.installed is not None
    block = bytes.fromhex(app.folder.installed.index_blocks[0])
    path = Layout(here.apps.store.root).block(block)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(PearrtError):
        await here.apps.verify(team.link.app_key)


async def test_a_folder_is_held_against_the_releases_that_are_here(
    here: Here, team: Team, tmp_path: Path
) -> None:
    found = await here.apps.verify(team.link.app_key, tree(here, team))
    assert (found["version"], found["differences"]) == ("2.0", [])
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "thing.py").write_bytes(b"print(1)\n")
    found = await here.apps.verify(team.link.app_key, tmp_path / "copy")
    assert found["differences"] == ["data: missing"]
    with pytest.raises(NoSuchApp):
        await here.apps.verify(bytes(32), tmp_path)


async def test_a_file_is_verified_without_any_state(team: Team, tmp_path: Path) -> None:
    found = verify_file(tmp_path / "2.0.pear", time.time())
    (app,) = found["apps"]
    assert (app["link"], app["sequence"], app["signed_by"]) == (str(team.link), 3, ["s1", "s2"])
    assert [each["version"] for each in app["releases"]] == ["2.0"]
    assert app["freshness"] == "fresh"
    assert verify_file(tmp_path / "2.0.pear", time.time() + 1e7)["apps"][0]["freshness"] == "stale"


@pytest.mark.parametrize("position", range(3))
async def test_a_file_that_lacks_a_block_is_refused(team: Team, tmp_path: Path, position: int) -> None:
    with PearFile(tmp_path / "2.0.pear") as file:
        release = team.publication.trusted.release()
        assert release is not None
        needed = [block for block in file.block_ids() if len(file.block(block)) > 2000][:3]
        assert len(needed) > 0
        left_out = needed[position % len(needed)]
        blocks = [(each, file.block(each)) for each in file.block_ids() if each != left_out]
        metadata = {key: file.metadata(key) for key in file.apps}
        write_pear(tmp_path / "bad.pear", file.links, metadata, blocks)
    with pytest.raises((ProtocolViolation, DigestMismatch, PearrtError)):
        verify_file(tmp_path / "bad.pear", time.time())
