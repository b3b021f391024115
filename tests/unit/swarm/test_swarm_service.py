"""The swarm service over real connections on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pearrt.errors import Full, NoPeers, ProtocolViolation
from pearrt.peer.link import PeerLink
from pearrt.swarm.effects import Newer
from pearrt.swarm.membership import Membership
from pearrt.swarm.reputation import Offence
from pearrt.trust.metadata_set import MetadataSet
from tests.support.swarm_apps import Bundle, FakeApp, Ref, running_peer


async def test_a_bundle_moves_from_one_peer_to_another(tmp_path: Path) -> None:
    bundle = Bundle.make(40)
    seen = []
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        seeder = await a.seed(bundle)
        leecher = await b.meet(a, bundle)
        await leecher.fetch(bundle.refs, progress=seen.append)
        assert all(b.store.has(block_id) for block_id in bundle.ids)
        assert seen[-1].blocks == 40
        assert seen[-1].stored_bytes == seen[-1].total_bytes == 40 * 4096
        assert seen[-1].bytes_by_peer == {a.peers.peer_id: 40 * 4096}
        assert seeder.bytes_to[b.peers.peer_id] == 40 * 4096


async def test_blocks_of_an_index_are_fetched_before_the_bundle_is_known(tmp_path: Path) -> None:
    bundle, index = Bundle.make(3), Bundle.make(2, seed=2)
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        bundle.put_into(a.store)
        index.put_into(a.store)
        seeder = await a.swarm.join(FakeApp())
        seeder.set_bundle(bundle.digest, bundle.ids, index_blocks=index.ids)
        leecher = await b.meet(a)
        await leecher.fetch(index.refs)
        leecher.set_bundle(bundle.digest, bundle.ids, index_blocks=index.ids)
        await leecher.fetch(bundle.refs)
        assert all(b.store.has(block_id) for block_id in bundle.ids + index.ids)


async def test_blocks_of_another_app_are_not_served(tmp_path: Path) -> None:
    ours, theirs = Bundle.make(2), Bundle.make(2, seed=2)
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        ours.put_into(a.store)
        theirs.put_into(a.store)
        (await a.swarm.join(FakeApp("one"))).set_bundle(ours.digest, ours.ids)
        (await a.swarm.join(FakeApp("two"))).set_bundle(theirs.digest, theirs.ids)
        leecher = await b.swarm.join(FakeApp("one"))
        leecher.add_peer(a.address)
        with pytest.raises(NoPeers):
            await leecher.fetch(theirs.refs, patience_s=0.3)
        assert not any(b.store.has(block_id) for block_id in theirs.ids)


async def test_who_does_not_know_the_topic_joins_nothing(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        one = await a.swarm.join(FakeApp("one"))
        two = await b.swarm.join(FakeApp("two"))
        two.add_peer(a.address)
        with pytest.raises(NoPeers):
            await two.wait_for_peer(0.3)
        assert a.peers.links
        assert not one.peers


async def test_a_new_timestamp_reaches_peers_of_peers_at_once(tmp_path: Path) -> None:
    async with (
        running_peer(tmp_path / "a") as a,
        running_peer(tmp_path / "b") as b,
        running_peer(tmp_path / "c") as c,
    ):
        apps = [FakeApp(current=b"1") for _ in range(3)]
        first, middle, last = [await p.swarm.join(app) for p, app in zip((a, b, c), apps, strict=True)]
        heard = asyncio.Event()

        def adopt(newer: Newer[PeerLink]) -> None:
            apps[1].current = newer.timestamp
            middle.timestamp_changed()

        middle.on_newer = adopt
        last.on_newer = lambda newer: heard.set()
        middle.add_peer(a.address)
        last.add_peer(b.address)
        await middle.wait_for_peer(5)
        await last.wait_for_peer(5)
        apps[0].current = b"2"
        first.timestamp_changed()
        async with asyncio.timeout(2):
            await heard.wait()


async def test_metadata_comes_from_a_peer(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        app = FakeApp(current=b"1")
        app.metadata = b"signed"
        await a.swarm.join(app)
        asker = await b.meet(a)
        assert await asker.metadata(3) == b"3:signed"


async def test_more_roots_than_fit_into_a_message_come_in_several(tmp_path: Path) -> None:
    roots = tuple(number.to_bytes(4) * 9000 for number in range(1, 81))
    metadata = MetadataSet(roots, b"timestamp", b"snapshot", b"targets")
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        app = FakeApp(current=b"1")
        app.metadata_from = lambda first_root: metadata.since(first_root).encode()  # type: ignore[method-assign]
        await a.swarm.join(app)
        asker = await b.meet(a)
        assert MetadataSet.decode(await asker.metadata()) == metadata
        assert MetadataSet.decode(await asker.metadata(70)).roots == roots[69:]


async def test_who_trusts_nothing_yet_says_so_at_once_and_somebody_else_is_waited_for(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        await a.swarm.join(FakeApp())
        app = FakeApp(current=b"1")
        app.metadata = b"signed"
        asker = await b.meet(a)
        await asker.wait_for_peer(5)
        asked = asyncio.create_task(asker.metadata(timeout_s=20))
        async with asyncio.timeout(5):  # a silent peer costs a third of the 20 s before others are asked
            await asyncio.sleep(0)  # asks
            while any(member.metadata_asked for member in asker.swarm.members.values()):
                await asyncio.sleep(0.001)
            async with running_peer(tmp_path / "c") as c:
                await c.swarm.join(app)
                asker.add_peer(c.address)
                assert await asked == b"1:signed"


async def test_an_interrupted_fetch_resumes_with_what_the_store_has(tmp_path: Path) -> None:
    bundle = Bundle.make(30)
    async with running_peer(tmp_path / "a") as a:
        seeder = await a.seed(bundle)
        for blocks in (bundle.refs[:10], bundle.refs):
            async with running_peer(tmp_path / "b") as b:
                leecher = await b.meet(a, bundle)
                await leecher.fetch(blocks)
        assert seeder.bytes_to.total() == 30 * 4096


async def test_a_leecher_seeds_on(tmp_path: Path) -> None:
    bundle = Bundle.make(20)
    async with running_peer(tmp_path / "b") as b, running_peer(tmp_path / "c") as c:
        middle = await b.swarm.join(FakeApp())
        middle.set_bundle(bundle.digest, bundle.ids)
        async with running_peer(tmp_path / "a") as a:
            await a.seed(bundle)
            middle.add_peer(a.address)
            await middle.fetch(bundle.refs)
        last = await c.swarm.join(FakeApp())
        last.set_bundle(bundle.digest, bundle.ids)
        last.add_peer(b.address)
        await last.fetch(bundle.refs)
        assert last.bytes_from == {b.peers.peer_id: 20 * 4096}


async def test_peers_learn_of_each_other_from_a_common_peer(tmp_path: Path) -> None:
    async with (
        running_peer(tmp_path / "a") as a,
        running_peer(tmp_path / "b") as b,
        running_peer(tmp_path / "c") as c,
    ):
        await a.swarm.join(FakeApp())
        one, two = await b.swarm.join(FakeApp()), await c.swarm.join(FakeApp())
        one.add_peer(a.address)
        two.add_peer(a.address)
        async with asyncio.timeout(5):
            while len(one.peers) < 2 or len(two.peers) < 2:
                await asyncio.sleep(0.02)


async def test_nobody_there_is_no_peers(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "a") as a:
        lonely = await a.swarm.join(FakeApp())
        with pytest.raises(NoPeers):
            await lonely.fetch([Ref(bytes(32), 5)], patience_s=0.1)
        with pytest.raises(NoPeers):
            await lonely.metadata(timeout_s=0.1)


async def test_peers_that_answered_are_found_again_after_a_restart_without_any_finder(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "a") as a:
        await a.swarm.join(FakeApp())
        async with running_peer(tmp_path / "b", keep=True) as b:
            first = await b.meet(a)
            await first.wait_for_peer(5)
        async with running_peer(tmp_path / "b", keep=True) as b:
            again = await b.swarm.join(FakeApp())
            await again.wait_for_peer(5)
            assert again.peers[0].peer_id == a.peers.peer_id


async def test_a_ban_outlives_a_restart(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "a") as a:
        await a.swarm.join(FakeApp())
        for started in range(2):
            async with running_peer(tmp_path / "b", keep=True) as b:
                member = await b.swarm.join(FakeApp())
                if not started:
                    b.swarm.reputation.offend(a.peers.peer_id, "127.0.0.1", Offence.BAD_BLOCK, time.time())
                member.add_peer(a.address)
                with pytest.raises(NoPeers):
                    await member.wait_for_peer(0.2)


async def test_a_finder_that_breaks_does_not_stop_the_others(tmp_path: Path) -> None:
    class Broken:
        async def find(self, topic: bytes) -> AsyncIterator[tuple[str, int]]:
            raise ProtocolViolation("nonsense from the network")
            yield ("127.0.0.1", 1)

        async def announce(self, topic: bytes, port: int) -> int:
            raise OSError("no network")

    class Working(Broken):
        async def find(self, topic: bytes) -> AsyncIterator[tuple[str, int]]:
            yield a.address

    async with (
        running_peer(tmp_path / "a") as a,
        running_peer(tmp_path / "b", finders=(Broken(), Working())) as b,
    ):
        await a.swarm.join(FakeApp())
        member = await b.swarm.join(FakeApp())
        await member.wait_for_peer(5)


async def test_two_fetches_of_the_same_blocks_fetch_them_once(tmp_path: Path) -> None:
    bundle = Bundle.make(20)
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        seeder = await a.seed(bundle)
        leecher = await b.meet(a, bundle)
        await asyncio.gather(leecher.fetch(bundle.refs), leecher.fetch(bundle.refs[5:]))
        assert seeder.bytes_to.total() == 20 * 4096


async def test_a_fetch_in_the_background_waits_while_one_in_the_foreground_moves(tmp_path: Path) -> None:
    front, back = Bundle.make(60, 100_000, seed=1), Bundle.make(60, 100_000, seed=2)
    ended: list[str] = []
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        jobs = []
        for name, bundle in (("back", back), ("front", front)):
            bundle.put_into(a.store)
            (await a.swarm.join(FakeApp(name))).set_bundle(bundle.digest, bundle.ids)
            leecher = await b.swarm.join(FakeApp(name))
            leecher.add_peer(a.address)
            leecher.set_bundle(bundle.digest, bundle.ids)
            await leecher.wait_for_peer(5)

            async def run(name: str = name, bundle: Bundle = bundle, leecher: Membership = leecher) -> None:
                await leecher.fetch(bundle.refs, foreground=name == "front")
                ended.append(name)

            jobs.append(run())
        await asyncio.gather(*jobs)
        assert ended == ["front", "back"]


async def test_a_full_disk_ends_the_fetch_with_its_own_error(tmp_path: Path) -> None:
    bundle = Bundle.make(5)
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        await a.seed(bundle)
        leecher = await b.meet(a, bundle)

        def full(block_id: bytes, data: object) -> None:
            raise Full("No space left.")

        b.store.put = full  # type: ignore[method-assign]
        with pytest.raises(Full):
            await leecher.fetch(bundle.refs)


async def test_leaving_an_app_ends_its_channel_and_nothing_else(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        ours = [await a.swarm.join(FakeApp(name)) for name in ("one", "two")]
        theirs = [await b.swarm.join(FakeApp(name)) for name in ("one", "two")]
        theirs[0].add_peer(a.address)
        for membership in (*ours, *theirs):
            await membership.wait_for_peer(5)
        await theirs[0].leave()
        async with asyncio.timeout(5):
            while ours[0].peers:
                await asyncio.sleep(0.01)
        assert ours[1].peers
        assert len(a.peers.links) == 1
        back = await b.swarm.join(FakeApp("one"))
        back.add_peer(a.address)
        await back.wait_for_peer(5)
        assert len(a.peers.links) == 1


async def test_an_index_that_a_peer_lacks_at_first_comes_once_it_shows_the_bundle(tmp_path: Path) -> None:
    bundle, index = Bundle.make(3), Bundle.make(2, seed=2)
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        bundle.put_into(a.store)
        index.put_into(a.store)
        seeder = await a.swarm.join(FakeApp())
        leecher = await b.meet(a)
        await leecher.wait_for_peer(5)
        with pytest.raises(NoPeers):
            await leecher.fetch(index.refs, patience_s=0.1)
        fetching = asyncio.create_task(leecher.fetch(index.refs))
        await asyncio.sleep(0.1)
        assert not fetching.done(), "nobody serves it yet"
        seeder.set_bundle(bundle.digest, bundle.ids, index_blocks=index.ids)
        async with asyncio.timeout(3):
            await fetching


async def test_who_lacks_blocks_that_it_never_announced_is_no_liar(tmp_path: Path) -> None:
    leaves = Bundle.make(40, seed=3)
    async with running_peer(tmp_path / "a") as a, running_peer(tmp_path / "b") as b:
        await a.swarm.join(FakeApp())
        asker = await b.meet(a)
        await asker.wait_for_peer(5)
        with pytest.raises(NoPeers):
            await asker.fetch(leaves.refs, patience_s=0.2)
        assert len(asker.peers) == 1
