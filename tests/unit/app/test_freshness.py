"""How current an app is: who says so is counted, what is withheld shows, and nothing found is believed
unverified."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from pearrt.app.followed import FollowedApp
from pearrt.app.freshness import (
    DHT,
    GRACE_S,
    LOOK_EVERY_S,
    Confirmations,
    look,
    look_is_due,
    put_hint,
    salt_of,
    standing,
    take_hint,
)
from pearrt.app.library import AppFolder
from pearrt.app.progress import silent
from pearrt.cli.freshness import freshness_text
from pearrt.dht.items import MutableItem, sign_item
from pearrt.dht.service import DhtService, PutResult
from pearrt.errors import Expired
from pearrt.link import Link
from pearrt.paths import Home
from pearrt.testing import Testnet
from pearrt.trust.app import Verdict
from tests.support.app_here import Here, Team, running_apps
from tests.support.repository import DAY, NOW, Repository, signing_key


class Items:
    """A DHT of one node that stores whatever it is given."""

    def __init__(self) -> None:
        self.items: dict[tuple[bytes, bytes], MutableItem] = {}
        self.gets = 0

    async def put_mutable(
        self, seed: bytes, value: bytes, *, salt: bytes = b"", seq: int | None = None
    ) -> PutResult:
        item = sign_item(seed, value, salt=salt, seq=seq or 1)
        self.items[item.public_key, salt] = item
        return PutResult(item.target, 1, item.seq)

    async def get_mutable(self, public_key: bytes, *, salt: bytes = b"") -> MutableItem | None:
        self.gets += 1
        return self.items.get((public_key, salt))


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Members:
    """Stands in for the swarm: notes that peers were told."""

    told = 0

    def timestamp_changed(self) -> None:
        self.told += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(NOW)
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.fixture
def repository(clock: Clock) -> Repository:
    return Repository().release("1.0")


@pytest.fixture
def app(repository: Repository, tmp_path: Path) -> FollowedApp:
    app = FollowedApp(Link(repository.app_key), AppFolder(tmp_path, repository.app_key))
    app.members = Members()  # type: ignore[assignment]
    app.accept(repository.metadata().encode(), allow_stale=False)
    return app


def state_of(app: FollowedApp) -> dict[str, object]:
    assert app.trusted is not None
    return standing(app, app.trusted, time.time())


def seed_of(name: str) -> bytes:
    return bytes(signing_key(name))


# -- confirmations


def test_sources_are_counted_and_forgotten_with_the_next_timestamp(
    app: FollowedApp, repository: Repository, clock: Clock
) -> None:
    for source, origin in (("192.0.2.0/24", "dht"), ("192.0.2.0/24", "exchange"), ("10.0.0.7", "lan")):
        app.confirm(source, origin)
    app.confirm(DHT, DHT)
    assert (state_of(app)["confirmed_by"], state_of(app)["in_dht"]) == (2, True)
    app.accept(repository.beat(NOW + DAY).metadata().encode(), allow_stale=False)
    assert (state_of(app)["confirmed_by"], state_of(app)["in_dht"]) == (0, False)
    clock.now += DAY + 3 * 3600
    app.confirm("10.0.0.7", "lan")
    found = state_of(app)
    text = freshness_text(
        str(found["freshness"]), int(str(found["confirmed_at"])), int(str(found["confirmed_by"])), None
    )
    assert text == "fresh, last confirmed 3 h ago by 1 peer"


def test_confirmations_outlive_a_restart_and_damage_only_loses_them(
    app: FollowedApp, repository: Repository, tmp_path: Path
) -> None:
    app.confirm("10.0.0.7", "lan")
    app.save_confirmations()
    folder = AppFolder(tmp_path, repository.app_key)
    again = FollowedApp(Link(repository.app_key), folder)
    assert state_of(again)["confirmed_by"] == 1
    for damage in (b"", b"[]", b"{", b'{"timestamp": 1, "sources": 2, "at": 3}', b"\xff"):
        folder.confirmed = damage
        assert Confirmations.load(folder.confirmed) == Confirmations()


# -- the timestamp in the DHT


async def test_all_peers_are_frozen_but_the_dht_knows_of_a_newer_heartbeat(
    app: FollowedApp, repository: Repository, clock: Clock
) -> None:
    """Nothing but the timestamp is new: it is adopted, and peers are told."""
    dht = Items()
    clock.now += 6 * DAY
    beat = repository.beat(clock.now).metadata()
    await dht.put_mutable(seed_of("hb"), beat.timestamp, salt=salt_of(app.topic), seq=3)
    assert await look(app, dht) is Verdict.SAME
    assert app.timestamp() == beat.timestamp
    clock.now += 3 * DAY  # past the expiry of the one before
    assert state_of(app)["freshness"] == "fresh"
    assert state_of(app)["in_dht"]
    assert app.members.told == 1  # type: ignore[attr-defined]


async def test_all_peers_are_frozen_but_the_dht_knows_of_a_newer_release(
    app: FollowedApp, repository: Repository, clock: Clock
) -> None:
    """Its metadata is withheld: the app is stale although what is trusted has not expired."""
    dht = Items()
    clock.now += DAY
    newer = repository.release("2.0").beat(clock.now).metadata()
    await dht.put_mutable(seed_of("hb"), newer.timestamp, salt=salt_of(app.topic), seq=4)
    before = app.folder.trust
    assert await look(app, dht) is Verdict.NEWER
    assert app.folder.trust == before
    assert state_of(app)["freshness"] == "fresh"  # the metadata usually follows at once
    clock.now += GRACE_S + 1
    found = state_of(app)
    assert (found["freshness"], found["newer_at"]) == ("stale", int(NOW + DAY))
    assert "no peer gave it" in freshness_text("stale", int(NOW), 0, int(NOW + DAY))
    app.accept(newer.encode(), allow_stale=False)
    assert (state_of(app)["freshness"], state_of(app)["newer_at"]) == ("fresh", None)


def test_a_withheld_release_that_a_peer_tells_of_shows_too(
    app: FollowedApp, repository: Repository, clock: Clock
) -> None:
    assert app.consider_timestamp(repository.release("2.0").metadata().timestamp)
    clock.now += GRACE_S + 1
    assert state_of(app)["freshness"] == "stale"


async def test_what_lies_in_the_dht_is_not_believed_unverified(
    app: FollowedApp, repository: Repository
) -> None:
    good = repository.metadata()
    before = (app.folder.trust, state_of(app))
    forged = repository.copy()
    forged.names["timestamp"] = ["ada"]
    for raw in (b"", b"junk", good.snapshot, good.targets, forged.beat().metadata().timestamp, bytes(990)):
        assert take_hint(app, raw, NOW) is None
    expired = repository.copy().beat(NOW - 30 * DAY)
    assert take_hint(app, expired.metadata().timestamp, NOW) is None
    assert (app.folder.trust, state_of(app)) == before


async def test_an_older_item_changes_nothing_and_counts_for_nothing(
    app: FollowedApp, repository: Repository
) -> None:
    old = repository.metadata().timestamp
    app.accept(repository.beat(NOW + 60).metadata().encode(), allow_stale=False)
    assert take_hint(app, old, NOW) is Verdict.OLDER
    assert not state_of(app)["in_dht"]


def test_an_item_that_contradicts_what_is_trusted_is_kept_as_proof(
    app: FollowedApp, repository: Repository
) -> None:
    repository["timestamp"]["x-other"] = 1
    assert take_hint(app, repository.metadata().timestamp, NOW) is None
    assert app.folder.equivocation is not None


def test_the_dht_is_asked_only_where_no_peer_confirmed_for_a_while(app: FollowedApp, clock: Clock) -> None:
    assert not look_is_due(app, clock.now)  # peers have two minutes
    clock.now += 200
    assert look_is_due(app, clock.now)
    app.confirm("10.0.0.7", "lan")
    assert not look_is_due(app, clock.now)
    clock.now += LOOK_EVERY_S
    assert look_is_due(app, clock.now)
    app.published = True
    assert not look_is_due(app, clock.now)


async def test_looks_are_not_repeated_before_their_time_nor_stopped_by_a_clock_set_back(
    app: FollowedApp, clock: Clock
) -> None:
    dht = Items()
    clock.now += LOOK_EVERY_S
    await look(app, dht)
    assert not look_is_due(app, clock.now)
    clock.now -= DAY
    assert look_is_due(app, clock.now)


def test_the_floor_of_time_does_not_move_back_with_the_clock(
    app: FollowedApp, repository: Repository, clock: Clock
) -> None:
    clock.now += 6 * DAY
    app.accept(repository.beat(clock.now).metadata().encode(), allow_stale=False)
    clock.now = NOW - 300 * DAY
    assert app.trusted is not None
    assert app.trusted.time_floor == NOW + 6 * DAY
    with pytest.raises(Expired):
        app.trusted.check_expiry(NOW + 14 * DAY)
    old = repository.copy().beat(NOW - 10 * DAY).metadata()
    assert take_hint(app, old.timestamp, clock.now) is None  # expired by the floor, not by this clock


# -- with real parts


@pytest_asyncio.fixture
async def dht() -> AsyncIterator[DhtService]:
    async with (
        Testnet(6) as net,
        DhtService(bind=("127.0.0.1", 0), bootstrap=net.bootstrap) as service,
    ):
        yield service


async def test_a_publishers_heartbeat_is_found_in_a_real_dht(
    dht: DhtService, new_home: Callable[[], Home]
) -> None:
    home = new_home()
    team = Team(home)
    async with running_apps(home) as publisher, running_apps(new_home()) as user:
        await team.release(publisher)
        publisher.apps.dht = dht
        app = await user.apps.follow(team.link)
        app.accept(team.publication.metadata.encode(), allow_stale=False)
        team.publication = team.publication.refresh(time.time() + 60)
        await publisher.apps.publishing.beat()
        assert publisher.apps.publishing.hinted[team.link.app_key] == team.publication.metadata.timestamp
        assert await look(app, dht) is Verdict.SAME
        assert app.timestamp() == team.publication.metadata.timestamp
        assert not app.members.peers
        assert await put_hint(publisher.apps.followed[team.link.app_key], dht, team.heartbeat.seed) > 0


async def test_peers_that_show_the_same_confirm_it(new_home: Callable[[], Home]) -> None:
    home = new_home()
    team = Team(home)
    async with running_apps(home) as publisher, running_apps(new_home()) as user:
        await team.release(publisher)
        app = await user.apps.follow(team.link)
        user.knows(publisher, team.link)
        await user.apps.install(team.link, silent, update=False, allow_stale=False)
        await _until(lambda: state_of(app)["confirmed_by"] == 1)
        (listed,) = user.apps.summaries()
        assert (listed["freshness"], listed["confirmed_by"]) == ("fresh", 1)
        assert app.confirmations.sources == {"127.0.0.1": "configured"}
        # Our own word, come back to us, would be no confirmation.
        assert publisher.apps.followed[team.link.app_key].confirmations.sources == {}


async def test_a_new_install_of_a_stale_app_takes_one_yes_and_an_installed_one_none(
    new_home: Callable[[], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = new_home()
    team = Team(home)
    async with running_apps(home) as publisher, running_apps(new_home()) as user:
        await team.release(publisher)
        later = time.time() + 60 * DAY
        monkeypatch.setattr(time, "time", lambda: later)
        await user.apps.follow(team.link)
        user.knows(publisher, team.link)
        with pytest.raises(Expired, match="last confirmed"):
            await user.apps.install(team.link, silent, update=False, allow_stale=False)
        await user.apps.install(team.link, silent, update=False, allow_stale=True)
        assert state_of(user.apps.followed[team.link.app_key])["freshness"] == "stale"
        await _installed_starts(user, team)


async def _installed_starts(user: Here, team: Team) -> None:
    got = await user.apps.install(team.link, silent, update=False, allow_stale=False)
    assert got["version"] == "1.0"


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)
