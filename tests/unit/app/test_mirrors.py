"""Mirrors that a link names: an unpacked .pear file under a plain web server serves an app; nothing it says
is believed."""

from __future__ import annotations

import functools
import http.server
import threading
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from pearrt.app.export import export
from pearrt.app.freshness import standing
from pearrt.app.progress import silent
from pearrt.errors import DigestMismatch, NoPeers, PearrtError
from pearrt.link import Link
from pearrt.paths import Home
from pearrt.swarm import membership
from tests.support.app_here import Here, Team, running_apps


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Any static web server, which knows nothing of pearrt."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass


@dataclass(slots=True)
class Site:
    """An app's file, unpacked under a web server."""

    folder: Path
    url: str
    team: Team

    @property
    def link(self) -> Link:
        return replace(self.team.link, mirrors=(self.url,))

    def blocks(self) -> list[Path]:
        return sorted(self.folder.glob("pearrt/v1/block/*"))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "site"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest_asyncio.fixture
async def site(web: tuple[Path, str], new_home: Callable[[], Home], tmp_path: Path) -> Site:
    folder, url = web
    home = new_home()
    team = Team(home)
    async with running_apps(home) as publisher:
        await team.release(publisher)
        await export(publisher.apps, [team.link], tmp_path / "app.pear", silent)
    with zipfile.ZipFile(tmp_path / "app.pear") as archive:
        archive.extractall(folder)
    return Site(folder, url, team)


@pytest_asyncio.fixture
async def user(home: Home, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Here]:
    monkeypatch.setattr(membership, "METADATA_TIMEOUT_S", 0.3)
    monkeypatch.setattr(membership, "ALONE_PATIENCE_S", 0.3)
    async with running_apps(home) as here:
        yield here


async def test_an_app_is_installed_from_a_plain_web_server_alone(site: Site, user: Here) -> None:
    got = await user.apps.install(site.link, silent, update=False, allow_stale=False)
    assert got["version"] == "1.0"
    app = user.apps.followed[site.link.app_key]
    assert not app.members.peers
    assert list(app.confirmations.sources.values()) == ["mirror"]
    assert app.trusted is not None
    assert standing(app, app.trusted, 0)["confirmed_by"] == 1


async def test_who_has_it_from_a_mirror_gives_it_to_peers(
    site: Site, user: Here, new_home: Callable[[], Home]
) -> None:
    await user.apps.install(site.link, silent, update=False, allow_stale=False)
    async with running_apps(new_home()) as other:
        await other.apps.follow(site.team.link)
        other.knows(user, site.team.link)
        got = await other.apps.install(site.team.link, silent, update=False, allow_stale=False)
        assert got["version"] == "1.0"


async def test_a_false_block_of_a_mirror_is_not_kept_and_nothing_is_installed(site: Site, user: Here) -> None:
    for block in site.blocks():
        block.write_bytes(block.read_bytes()[:-1] + b"?")
    with pytest.raises((NoPeers, DigestMismatch)):
        await user.apps.install(site.link, silent, update=False, allow_stale=False)
    assert user.apps.followed[site.link.app_key].folder.installed is None
    assert not any(user.apps.store.has(bytes.fromhex(block.name)) for block in site.blocks())


async def test_one_bad_mirror_does_not_spoil_the_others(site: Site, user: Here) -> None:
    link = replace(site.link, mirrors=("http://127.0.0.1:9", f"{site.url}/nothing-here", site.url))
    got = await user.apps.install(link, silent, update=False, allow_stale=False)
    assert got["version"] == "1.0"


async def test_metadata_of_a_mirror_is_verified_like_a_peers(
    site: Site, user: Here, new_home: Callable[[], Home]
) -> None:
    other = Team(new_home())
    (metadata,) = site.folder.glob("pearrt/v1/*/metadata")
    metadata.write_bytes(other.publication.metadata.encode())
    with pytest.raises(PearrtError, match="another link"):
        await user.apps.install(site.link, silent, update=False, allow_stale=False)


async def test_a_mirror_that_lacks_a_block_leaves_it_to_peers(
    site: Site, user: Here, new_home: Callable[[], Home]
) -> None:
    async with running_apps(new_home()) as seeder:
        await seeder.apps.install(site.link, silent, update=False, allow_stale=False)
        for block in site.blocks():
            block.unlink()
        await user.apps.follow(site.link)
        user.knows(seeder, site.link)
        await user.apps.followed[site.link.app_key].members.wait_for_peer(5)
        got = await user.apps.install(site.link, silent, update=False, allow_stale=False)
        assert got["version"] == "1.0"


async def test_a_private_network_asks_no_mirror(site: Site, user: Here) -> None:
    user.apps.psk = b"p" * 32
    app = await user.apps.follow(site.link)
    assert app.mirrors == ()
