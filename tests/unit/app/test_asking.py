"""Asking peers what is newest: it holds nobody up, and whoever asked at the same time shares the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from pearrt.app import granting, install
from pearrt.app.export import export
from pearrt.app.followed import installed_manifest
from pearrt.app.importing import import_file
from pearrt.app.progress import silent
from pearrt.errors import NoPeers, PeerTimeout, Rollback
from pearrt.paths import Home
from tests.support.app_here import Here, Team, running_apps


def approve(here: Here, team: Team) -> None:
    """The person's yes, so that newer releases take over by themselves."""
    app = here.apps.followed[team.link.app_key]
    assert app.folder.installed is not None
    granting.approve(app.folder, installed_manifest(app, app.folder.installed, here.apps.store), ())


async def installed(publisher: Here, user: Here, team: Team) -> None:
    await team.release(publisher)
    await user.apps.follow(team.link)
    user.knows(publisher, team.link)
    await user.apps.install(team.link, silent, update=False, allow_stale=False)
    approve(user, team)


async def test_what_a_file_brings_does_not_wait_for_a_look_that_finds_nobody(
    new_home: Callable[[], Home], tmp_path: Path
) -> None:
    home = new_home()
    team, file = Team(home), tmp_path / "app.pear"
    async with running_apps(home) as publisher, running_apps(new_home()) as alone:
        await team.release(publisher)
        await export(publisher.apps, [team.link], file, silent)
        await import_file(alone.apps, file, silent)
        approve(alone, team)
        alone.apps.lookout.look_for_newer(team.link.app_key)
        await team.release(publisher, "2.0")
        await export(publisher.apps, [team.link], file, silent)
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert (await import_file(alone.apps, file, silent))["version"] == "2.0"
            assert (await alone.apps.roll_back(team.link.app_key))["version"] == "1.0"


@pytest.mark.parametrize("failure", [PeerTimeout("nobody answered"), NoPeers("nobody"), Rollback("older")])
async def test_an_ask_that_fails_is_none_where_another_at_the_same_time_was_answered(
    new_home: Callable[[], Home], monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    home = new_home()
    team = Team(home)
    async with running_apps(home) as publisher, running_apps(new_home()) as user:
        await installed(publisher, user, team)
        app, catch_up = user.apps.followed[team.link.app_key], install.catch_up

        async def fails(*_: object, **__: object) -> None:
            await catch_up(app)
            raise failure

        monkeypatch.setattr(install, "catch_up", fails)
        update = await user.apps.install(team.link, silent, update=True, allow_stale=False)
        assert update["version"] == "1.0"

        async def alone(*_: object, **__: object) -> None:
            raise failure

        monkeypatch.setattr(install, "catch_up", alone)
        with pytest.raises(type(failure)):
            await user.apps.install(team.link, silent, update=True, allow_stale=False)


async def test_a_look_and_an_update_at_the_same_time_both_bring_what_is_new(
    new_home: Callable[[], Home],
) -> None:
    home = new_home()
    team = Team(home)
    async with running_apps(home) as publisher, running_apps(new_home()) as user:
        await installed(publisher, user, team)
        for version in ("2.0", "3.0", "4.0"):
            await team.release(publisher, version)
            user.apps.lookout.look_for_newer(team.link.app_key)
            update = await user.apps.install(team.link, silent, update=True, allow_stale=False)
            assert update["version"] == version
