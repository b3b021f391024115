"""The log of an app on real machines: kept, fetched from peers, listed; a fork is found and its proof
kept."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from pearrt.app import pins
from pearrt.app.log import fetch_log, leaf_ids
from pearrt.app.progress import silent
from pearrt.crypto import ed25519
from pearrt.crypto.hashes import sha256
from pearrt.crypto.keyfile import PublicKey
from pearrt.errors import Equivocation
from pearrt.paths import Home
from pearrt.peer.messages import Proof
from pearrt.publish.channel import delegate_channel
from pearrt.publish.draft import combine, sign
from pearrt.publish.history import leaves
from pearrt.publish.publication import Publication
from pearrt.publish.release import Variant, make_releases
from pearrt.trust.contradiction import Contradiction
from tests.support.app_here import Team, running_apps


async def test_everyone_lists_every_release_with_who_signed_it(new_home: Callable[[], Home]) -> None:
    home = new_home()
    team = Team(home, signers=3, threshold=2)
    async with running_apps(home) as publisher, running_apps(new_home()) as user:
        for version in ("1.0", "2.0", "3.0"):
            await team.release(publisher, version, notes=f"notes of {version}")
        await user.apps.follow(team.link)
        user.knows(publisher, team.link)
        await user.apps.install(team.link, silent, update=False, allow_stale=False)
        found = await user.apps.log(team.link)
        assert [entry["sequence"] for entry in found["entries"]] == [1, 2, 3, 4]
        assert [
            (entry["signed_by"], [release["version"] for release in entry["released"]])
            for entry in found["entries"]
        ] == [(["s1", "s2"], versions) for versions in ([], ["1.0"], ["2.0"], ["3.0"])]
        assert found["entries"][2]["released"][0]["notes"] == "notes of 2.0"
        assert (found["size"], found["complete"], found["missing"]) == (3, True, 0)
        assert found == await publisher.apps.log(team.link)

        # The publisher is gone: what the user keeps serves others.
        app = user.apps.followed[team.link.app_key]
        assert all(app.members.serves(leaf) for leaf in leaf_ids(app))
        assert pins.of_log(team.link.app_key) in user.apps.store.pins()
        await user.apps.gc(fsck=False, dry_run=False)
        assert all(map(user.apps.store.has, leaf_ids(app)))
        await user.apps.uninstall(team.link.app_key, keep_data=False)
        assert user.apps.store.pins() == []


async def test_a_log_whose_leaves_nobody_has_lists_hashes(
    new_home: Callable[[], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pearrt.app.log.PATIENCE_S", 0.2)
    home = new_home()
    team = Team(home)
    async with running_apps(home) as publisher, running_apps(new_home()) as user:
        for version in ("1.0", "2.0"):
            await team.release(publisher, version)
        publisher.apps.followed[team.link.app_key].members.serve_log([])
        await user.apps.follow(team.link)
        user.knows(publisher, team.link)
        found = await user.apps.log(team.link)
        assert [entry["known"] for entry in found["entries"]] == [False, False, True]
        assert (found["missing"], found["complete"]) == (2, False)


async def test_releases_that_no_daemon_saw_are_in_the_log_all_the_same(new_home: Callable[[], Home]) -> None:
    home = new_home()
    team = Team(home)
    async with running_apps(home) as publisher:
        await team.release(publisher, "1.0")
    for _ in range(3):
        team.commit(_renewed)
    assert len(list(leaves(team.publication.folder))) == 4
    async with running_apps(home) as publisher:
        await publisher.apps.publishing.publish(team.link)
        assert await fetch_log(publisher.apps.followed[team.link.app_key], publisher.apps.store) == 0
        found = await publisher.apps.log(team.link)
        assert [entry["known"] for entry in found["entries"]] == [True] * 5


def _renewed(publication: Publication):  # type: ignore[no-untyped-def]
    from pearrt.publish.release import targets_draft

    return targets_draft(publication.trusted, publication.trusted.releases, time.time())


async def test_a_secret_release_to_one_person_is_found_and_the_proof_kept(
    new_home: Callable[[], Home],
) -> None:
    """A quorum of stolen keys signs a release for one victim only; the next public release reveals it."""
    home, thief_home = new_home(), new_home()
    team = Team(home)
    async with running_apps(home) as publisher, running_apps(new_home()) as victim:
        await team.release(publisher, "1.0")
        honest = team.publication
        thief_folder = thief_home.publishing / honest.folder.name
        await asyncio.to_thread(_copy, honest, thief_folder)
        thief = Publication.open(thief_folder)
        draft = _renewed(thief)
        secret = thief.commit(draft, team.sign(draft), thief.trusted.timestamp.signed_at + 1)

        app = await victim.apps.follow(team.link)
        app.accept(secret.metadata.encode(), allow_stale=True)
        for version in ("2.0", "3.0"):
            await team.release(publisher, version)
        with pytest.raises(Equivocation, match="others never saw"):
            app.accept(team.publication.metadata.encode(), allow_stale=True)
        proof = app.folder.equivocation
        assert proof is not None
        assert (proof.first, proof.second) == (secret.metadata.targets, team.publication.metadata.targets)


def _copy(publication: Publication, folder: os.PathLike[str]) -> None:
    import shutil

    shutil.copytree(publication.folder, folder)


async def test_a_proof_reaches_every_peer_and_a_false_one_ends_its_tellers_link(
    new_home: Callable[[], Home],
) -> None:
    home = new_home()
    team = Team(home)
    async with (
        running_apps(home) as publisher,
        running_apps(new_home()) as first,
        running_apps(new_home()) as second,
    ):
        await team.release(publisher, "1.0")
        for machine, source in ((first, publisher), (second, first)):
            await machine.apps.follow(team.link)
            machine.knows(source, team.link)
            await machine.apps.install(team.link, silent, update=False, allow_stale=False)
        apps = [each.apps.followed[team.link.app_key] for each in (publisher, first, second)]

        false = Contradiction(team.publication.metadata.targets, team.publication.metadata.targets)
        link = next(iter(apps[2].members.swarm.members))
        apps[2].members._service.send(
            link, Proof(apps[2].members.swarm.members[link].channel, false.encode())
        )
        await _until(lambda: link.closed)
        assert all(app.folder.equivocation is None for app in apps)

        second.knows(first, team.link)
        await _until(lambda: len(apps[2].members.swarm.members) > 0)
        heartbeat = team.heartbeat
        good = team.publication.metadata
        one, other = (
            replace(heartbeat, period_s=period).beat(good.roots, good.targets, 2e9, good)
            for period in (86400, 86401)
        )
        apps[0].accept(one.encode(), allow_stale=True)
        with pytest.raises(Equivocation):
            apps[0].accept(other.encode(), allow_stale=True)
        await _until(lambda: all(app.folder.equivocation for app in apps))
        info = await second.apps.info(team.link)
        assert "two different timestamp metadata" in info["contradiction"]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_channel_with_signers_of_its_own_has_a_log_of_its_own(new_home: Callable[[], Home]) -> None:
    """Its past is listed with who could sign then, through a handover to other signers."""
    home = new_home()
    team = Team(home)
    async with running_apps(home) as publisher:
        await team.release(publisher, "1.0")
        for seed, versions in ((b"\7" * 32, ("b1", "b2")), (b"\x08" * 32, ("b3",))):
            _delegate(team, seed)
            for version in versions:
                _release_to_beta(team, seed, version)
        await publisher.apps.publishing.publish(team.link)
        found = await publisher.apps.log(team.link)
        beta = found["channels"]["beta"]
        versions = [[each["version"] for each in entry["released"]] for entry in beta]
        assert [(entry["signed_by"], entry["known"]) for entry in beta][-1] == (["beta-8"], True)
        assert {name for entry in beta for name in entry["signed_by"]} == {"beta-7", "beta-8"}
        assert [version for group in versions for version in group] == ["b1", "b2", "b3"]
        assert found["complete"]


def _delegate(team: Team, seed: bytes) -> None:
    publication = team.publication
    public = PublicKey(ed25519.public_key(seed), f"beta-{seed[0]}")
    change = delegate_channel(publication.trusted, "beta", [public], 1, now=time.time())
    signatures = {
        change.targets.role: team.sign(change.targets),
        change.channel.role: [sign(change.channel, seed)],
    }
    blobs = {draft.role: combine(draft, signatures[draft.role]) for draft in (change.targets, change.channel)}
    team.publication = publication.commit_signed([change.targets, change.channel], blobs, time.time())


def _release_to_beta(team: Team, seed: bytes, version: str) -> None:
    digest, trusted = sha256(version.encode()), team.publication.trusted
    variant = Variant("any", digest, 10, (digest,))
    draft = make_releases(trusted, [variant], name="thing", version=version, now=time.time(), channel="beta")
    blobs = {draft.role: combine(draft, [sign(draft, seed)])}
    team.publication = team.publication.commit_signed([draft], blobs, time.time())
