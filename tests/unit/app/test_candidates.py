"""Which bundles are served before they are released: those of requests, but for those under embargo."""

from __future__ import annotations

import time
from collections.abc import Callable

from pearrt.app.candidates import candidates
from pearrt.app.drafting import Terms, draft_release
from pearrt.app.progress import silent
from pearrt.app.stage import stage
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.paths import Home
from pearrt.publish.desk import Desk
from pearrt.publish.request import Request
from tests.support.app_here import Here, Team, running_apps
from tests.support.trees import write_tree


async def request_of(team: Team, here: Here) -> tuple[Request, bytes]:
    """A request whose bundle is in the store, and the bundle's digest."""
    source = team.home.data / "source"
    write_tree(source, {"main.py": b"def main():\n    pass\n"})
    manifest = Manifest(name="thing", version="2.0", entry=Entry.parse("main:main"))
    record = await stage(source, manifest.encode(), here.peer.store, team.home, silent)
    digest = bytes.fromhex(str(record["digest"]))
    draft = draft_release(team.publication.trusted, team.home, [digest.hex()], Terms(), time.time())
    return Request.of(team.publication.trusted, draft), digest


async def test_a_bundle_under_embargo_is_served_neither_now_nor_after_a_restart(
    new_home: Callable[[], Home],
) -> None:
    home = new_home()
    team = Team(home)
    desk = Desk.of(home.ceremonies, team.link.app_key)
    async with running_apps(home) as here:
        await team.release(here)
        request, digest = await request_of(team, here)
        desk.embargo(request)
        desk.keep(request)
        assert await here.apps.offer(team.link) == []
    async with running_apps(home) as here:
        assert await here.apps.offer(team.link) == []
        assert digest in candidates(home, team.link.app_key), "it can still be reviewed from what is here"
        desk.forget(request)
        assert not desk.is_embargoed(request)
        desk.keep(request)
        assert await here.apps.offer(team.link) == [digest.hex()]
