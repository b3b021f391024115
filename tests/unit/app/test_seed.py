"""What is seeded is what the link asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pearrt.app.progress import silent
from pearrt.errors import UserError
from pearrt.link import Link
from pearrt.paths import Home
from tests.support.app_here import Team, running_apps


async def test_a_link_that_names_a_channel_moves_what_is_only_seeded(new_home: Callable[[], Home]) -> None:
    home, here = new_home(), new_home()
    team = Team(home)
    beta = Link.parse(f"{team.link}?channel=beta")
    async with running_apps(home) as publisher:
        await team.release(publisher)
        await team.release(publisher, "2.0", channel="beta")
        async with running_apps(here) as seed:
            await seed.apps.follow(team.link)
            seed.knows(publisher, team.link)
            assert (await seed.apps.seed(team.link, silent, allow_stale=False))["version"] == "1.0"
            assert (await seed.apps.seed(beta, silent, allow_stale=False))["version"] == "2.0"
            assert (await seed.apps.seed(team.link, silent, allow_stale=False))["version"] == "2.0"
        async with running_apps(here) as again:
            app = again.apps.followed[team.link.app_key]
            assert (app.link.channel, app.seeding) == ("beta", True)


async def test_a_channel_that_is_not_there_moves_nothing(new_home: Callable[[], Home]) -> None:
    home = new_home()
    team = Team(home)
    async with running_apps(home) as publisher, running_apps(new_home()) as seed:
        await team.release(publisher)
        await seed.apps.follow(team.link)
        seed.knows(publisher, team.link)
        with pytest.raises(UserError):
            await seed.apps.seed(
                replace(team.link, channel="beta", names_channel=True), silent, allow_stale=False
            )
        assert seed.apps.followed[team.link.app_key].link.channel == "stable"


async def test_an_installed_app_is_not_moved_by_seeding_it(new_home: Callable[[], Home]) -> None:
    home = new_home()
    team = Team(home)
    async with running_apps(home) as publisher, running_apps(new_home()) as user:
        await team.release(publisher)
        await team.release(publisher, "2.0", channel="beta")
        await user.apps.follow(team.link)
        user.knows(publisher, team.link)
        await user.apps.install(team.link, silent, update=False, allow_stale=False)
        with pytest.raises(UserError, match="is installed here from its channel 'stable'"):
            await user.apps.seed(
                replace(team.link, channel="beta", names_channel=True), silent, allow_stale=False
            )
        assert (await user.apps.seed(team.link, silent, allow_stale=False))["version"] == "1.0"
