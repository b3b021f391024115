"""libtorrent's DHT and ours in one network, in both directions, over loopback."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio

from pearrt.crypto import ed25519
from pearrt.dht.service import DhtService
from pearrt.testing import Testnet
from tests.support.libtorrent_dht import LibtorrentNode

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="module")]

OURS = 12
LIBTORRENTS = 24
JOIN_TIMEOUT_S = 30.0


@dataclass
class Mixed:
    """A network of both kinds of nodes, and one client of ours."""

    ours: list[DhtService]
    libtorrents: list[LibtorrentNode]
    dht: DhtService


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mixed() -> AsyncIterator[Mixed]:
    async with AsyncExitStack() as stack:
        net = await stack.enter_async_context(Testnet(OURS))
        libtorrents = [await stack.enter_async_context(LibtorrentNode()) for _ in range(LIBTORRENTS)]
        for index, node in enumerate(libtorrents):
            node.know([each.address for each in net.nodes[:4]])
            node.know([libtorrents[index - 1].address, libtorrents[index - 7].address])
        deadline = time.monotonic() + JOIN_TIMEOUT_S
        while min([await node.node_count() for node in libtorrents]) < 8:
            assert time.monotonic() < deadline, "the libtorrent nodes did not meet"
            await asyncio.sleep(0.25)
        dht = await stack.enter_async_context(DhtService(bind=("127.0.0.1", 0), bootstrap=net.bootstrap))
        await dht.lookup(dht.node_id)
        yield Mixed(net.nodes, libtorrents, dht)


async def test_libtorrent_announces_and_we_find_it(mixed: Mixed) -> None:
    topic = os.urandom(20)
    mixed.libtorrents[3].announce(topic, 6001)
    async with asyncio.timeout(10):
        while ("127.0.0.1", 6001) not in [peer async for peer in mixed.dht.get_peers(topic)]:
            await asyncio.sleep(0.02)


async def test_we_announce_and_libtorrent_finds_us(mixed: Mixed) -> None:
    topic = os.urandom(20)
    assert await mixed.dht.announce(topic, 6002, repeat=False) >= 8
    assert await mixed.libtorrents[5].get_peers(topic) == [("127.0.0.1", 6002)]


async def test_libtorrent_puts_a_mutable_item_with_salt_and_we_get_it(mixed: Mixed) -> None:
    seed = os.urandom(32)
    public = ed25519.public_key(seed)
    assert await mixed.libtorrents[7].put_mutable(seed, public, b"from libtorrent", b"some salt") >= 8
    item = await mixed.dht.get_mutable(public, salt=b"some salt")
    assert item is not None
    assert item.value == b"from libtorrent"
    assert await mixed.dht.get_mutable(public, salt=b"other salt") is None


async def test_we_put_a_mutable_item_with_salt_and_libtorrent_gets_it(mixed: Mixed) -> None:
    seed = os.urandom(32)
    result = await mixed.dht.put_mutable(seed, b"from us", salt=b"some salt", republish=False)
    assert result.stored >= 8
    alert = await mixed.libtorrents[9].get_mutable(ed25519.public_key(seed), b"some salt")
    assert (alert.item, alert.seq, alert.salt) == (b"from us", 1, b"some salt")


async def test_both_sides_take_turns_at_one_mutable_item(mixed: Mixed) -> None:
    seed = os.urandom(32)
    public = ed25519.public_key(seed)
    assert (await mixed.dht.put_mutable(seed, b"one", republish=False)).seq == 1
    await mixed.libtorrents[2].put_mutable(seed, public, b"two", b"")
    result = await mixed.dht.put_mutable(seed, b"three", cas=2, republish=False)
    assert (result.seq, result.stored >= 8) == (3, True)
    alert = await mixed.libtorrents[4].get_mutable(public, b"")
    assert (alert.item, alert.seq) == (b"three", 3)


async def test_libtorrent_nodes_refuse_our_older_seq_and_the_put_says_so(mixed: Mixed) -> None:
    seed = os.urandom(32)
    await mixed.dht.put_mutable(seed, b"new", seq=9, republish=False)
    result = await mixed.dht.put_mutable(seed, b"old", seq=8, republish=False)
    assert result.refused >= 8
    item = await mixed.dht.get_mutable(ed25519.public_key(seed))
    assert item is not None
    assert (item.seq, item.value) == (9, b"new")


async def test_immutable_items_in_both_directions(mixed: Mixed) -> None:
    target = await mixed.libtorrents[11].put_immutable(b"libtorrent's constant")
    assert await mixed.dht.get_immutable(target) == b"libtorrent's constant"
    result = await mixed.dht.put_immutable(b"our constant")
    assert result.stored >= 8
    alert = await mixed.libtorrents[13].get_immutable(result.target)
    assert alert.item == b"our constant"


async def test_a_lookup_walks_through_a_mixed_network_of_more_than_30_nodes(mixed: Mixed) -> None:
    ours = {node.address for node in mixed.ours}
    theirs = {node.address for node in mixed.libtorrents}
    assert len(ours | theirs) >= 30
    found: set[tuple[str, int]] = set()
    for _ in range(8):
        contacts = await mixed.dht.lookup(os.urandom(20))
        assert len(contacts) >= 8
        found |= {contact.address for contact in contacts}
    assert len(found & ours) >= 6
    assert len(found & theirs) >= 12


async def test_libtorrent_nodes_keep_us_in_their_routing_tables(mixed: Mixed) -> None:
    queries = sum(node.stats().queries_in for node in mixed.ours)
    topic = os.urandom(20)
    for node in mixed.libtorrents:
        node.session.dht_get_peers(node.lt.sha1_hash(topic))
    async with asyncio.timeout(10):
        while sum(node.stats().queries_in for node in mixed.ours) < queries + OURS:
            await asyncio.sleep(0.02)
    assert sum(node.stats().malformed_in for node in mixed.ours) == 0
