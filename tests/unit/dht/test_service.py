"""The asyncio shell: under virtual time where time matters, over real loopback sockets where sockets
matter.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from pearrt.crypto import ed25519
from pearrt.dht.items import sign_item
from pearrt.dht.service import OPERATION_TIMEOUT_S, DhtService
from pearrt.errors import UserError
from pearrt.link import HostPort
from pearrt.testing import Testnet
from tests.support.sim import SimLoop, SimNet

T = TypeVar("T")
TOPIC = b"t" * 20
SEED = b"s" * 32
KEY = ed25519.public_key(SEED)
LOOPBACK = ("127.0.0.1", 0)


class Sim:
    """Runs coroutines under virtual time, with a network of services."""

    def __init__(self, loss: float = 0.0) -> None:
        self.loop = SimLoop()
        self.net = SimNet(self.loop, random.Random(3), loss=loss)
        self._made = 0

    def run(self, coroutine: Coroutine[object, object, T]) -> T:
        asyncio.set_event_loop(self.loop)
        try:
            return self.loop.run_until_complete(coroutine)
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()

    def service(self, bootstrap: list[HostPort]) -> DhtService:
        self._made += 1
        return DhtService(bind=(f"84.{self._made}.1.1", 6881), bootstrap=bootstrap, seed=self._made)

    @asynccontextmanager
    async def network(self, size: int = 24) -> AsyncIterator[list[DhtService]]:
        async with AsyncExitStack() as stack:
            nodes: list[DhtService] = []
            for _ in range(size):
                bootstrap = [HostPort(*node.address) for node in nodes[:2]]
                nodes.append(await stack.enter_async_context(self.service(bootstrap)))
                await asyncio.sleep(0.5)
            await asyncio.sleep(30)
            yield nodes


async def peers(node: DhtService) -> list[tuple[str, int]]:
    return [peer async for peer in node.get_peers(TOPIC)]


# Again and again


def test_an_announcement_outlives_45_minutes_because_it_is_repeated() -> None:
    sim = Sim()

    async def scenario() -> None:
        async with sim.network() as nodes:
            assert await nodes[3].announce(TOPIC, 4001) >= 15
            assert await nodes[4].announce(TOPIC, 4002, repeat=False) >= 15
            await asyncio.sleep(2 * 3600)
            assert await peers(nodes[9]) == [(nodes[3].address[0], 4001)]
            nodes[3].withdraw(TOPIC)
            await asyncio.sleep(46 * 60)
            assert await peers(nodes[9]) == []

    sim.run(scenario())


def test_a_mutable_item_outlives_two_hours_because_it_is_republished() -> None:
    sim = Sim()

    async def scenario() -> None:
        async with sim.network() as nodes:
            await nodes[3].put_mutable(SEED, b"kept", salt=b"a")
            await nodes[3].put_mutable(SEED, b"left", salt=b"b", republish=False)
            await asyncio.sleep(5 * 3600)
            kept = await nodes[9].get_mutable(KEY, salt=b"a")
            assert kept is not None
            assert (kept.value, kept.seq) == (b"kept", 1)
            assert await nodes[9].get_mutable(KEY, salt=b"b") is None
            nodes[3].forget(KEY, salt=b"a")
            await asyncio.sleep(2 * 3600 + 60)
            assert await nodes[9].get_mutable(KEY, salt=b"a") is None

    sim.run(scenario())


def test_republishing_never_puts_an_older_item_over_a_newer_one_and_then_stops() -> None:
    sim = Sim()

    async def scenario() -> None:
        async with sim.network() as nodes:
            await nodes[3].put_mutable(SEED, b"old")
            await nodes[4].put_mutable(SEED, b"new")
            await asyncio.sleep(4 * 3600)
            newest = await nodes[9].get_mutable(KEY)
            assert newest is not None
            assert (newest.value, newest.seq) == (b"new", 2)
            assert nodes[3]._published == {}
            assert len(nodes[4]._published) == 1

    sim.run(scenario())


def test_an_item_signed_elsewhere_is_kept_alive_and_never_put_over_a_newer_one() -> None:
    sim = Sim()
    signed = sign_item(SEED, b"by a key that is elsewhere", salt=b"a", seq=7)

    async def scenario() -> None:
        async with sim.network() as nodes:
            assert (await nodes[3].put_item(signed)).stored > 0
            await asyncio.sleep(5 * 3600)
            assert await nodes[9].get_mutable(KEY, salt=b"a") == signed
            await nodes[4].put_mutable(SEED, b"newer", salt=b"a")
            assert (await nodes[5].put_item(signed)).stored == 0
            newest = await nodes[9].get_mutable(KEY, salt=b"a")
            assert newest is not None
            assert (newest.value, newest.seq) == (b"newer", 8)

    sim.run(scenario())


async def test_an_item_whose_signature_does_not_hold_is_not_put() -> None:
    async with DhtService(bind=LOOPBACK) as node:
        for wrong in ({"signature": bytes(64)}, {"public_key": b"short"}, {"seq": -1}, {"salt": bytes(65)}):
            with pytest.raises(UserError):
                await node.put_item(replace(sign_item(SEED, b"v", salt=b"", seq=1), **wrong))  # type: ignore[arg-type]


# Bootstrap


def test_bootstrap_hosts_given_by_name_are_resolved_in_the_background_and_tried_again() -> None:
    sim = Sim()

    async def scenario() -> None:
        async with sim.network(4) as nodes, sim.service([HostPort("dht.example", 6881)]) as late:
            assert await late.lookup(TOPIC) == []
            sim.loop.names["dht.example"] = nodes[0].address[0]
            await asyncio.sleep(60)
            assert len(await late.lookup(TOPIC)) == 4

    sim.run(scenario())


def test_nodes_of_a_link_can_be_added_later() -> None:
    sim = Sim()

    async def scenario() -> None:
        async with sim.network(4) as nodes, sim.service([]) as lonely:
            assert await lonely.lookup(TOPIC) == []
            await lonely.add_nodes([HostPort("unknown.example", 1), HostPort(*nodes[0].address)])
            assert len(await lonely.lookup(TOPIC)) == 4

    sim.run(scenario())


def test_a_call_made_at_once_already_reaches_the_network() -> None:
    sim = Sim()

    async def scenario() -> None:
        async with sim.network() as nodes:
            sim.loop.names["dht.example"] = nodes[0].address[0]
            async with sim.service([HostPort("dht.example", 6881)]) as fresh:
                assert await fresh.announce(TOPIC, 4001) >= 18
                assert await peers(nodes[9]) == [(fresh.address[0], 4001)]

    sim.run(scenario())


def test_without_any_reachable_node_calls_end_with_nothing() -> None:
    sim = Sim()

    async def scenario() -> None:
        async with sim.service([HostPort("84.200.1.1", 1), HostPort("gone.example", 1)]) as alone:
            begin = sim.loop.now
            assert await alone.lookup(TOPIC) == []
            assert await peers(alone) == []
            assert await alone.announce(TOPIC, 4001) == 0
            assert (await alone.put_mutable(SEED, b"v")).stored == 0
            assert await alone.get_mutable(KEY) is None
            assert await alone.get_immutable(TOPIC) is None
            assert sim.loop.now - begin < 6 * OPERATION_TIMEOUT_S

    sim.run(scenario())


def test_the_first_node_of_a_network_needs_no_bootstrap() -> None:
    sim = Sim()

    async def scenario() -> None:
        async with sim.service([]) as first:
            assert await first.lookup(TOPIC) == []
            async with sim.service([HostPort(*first.address)]) as second:
                await asyncio.sleep(20)
                assert len(await first.lookup(TOPIC)) == len(await second.lookup(TOPIC)) == 1

    sim.run(scenario())


def test_operations_survive_heavy_loss() -> None:
    sim = Sim(loss=0.2)

    async def scenario() -> None:
        async with sim.network() as nodes:
            await nodes[3].announce(TOPIC, 4001)
            found = [await peers(node) for node in nodes[10:20]]
            assert sum(each == [(nodes[3].address[0], 4001)] for each in found) >= 9

    sim.run(scenario())


# Life cycle


async def test_nothing_is_left_running_after_exit() -> None:
    before = asyncio.all_tasks()
    async with DhtService(bind=LOOPBACK, bootstrap=[HostPort("127.0.0.1", 9)]) as node:
        await asyncio.sleep(0)
        assert node.address[1] != 0
    assert asyncio.all_tasks() == before


async def test_closing_ends_a_call_in_progress(free_port: Callable[[], int]) -> None:
    node = DhtService(bind=LOOPBACK, bootstrap=[HostPort("127.0.0.1", free_port())])
    async with node:
        call = asyncio.create_task(node.lookup(TOPIC))
        await asyncio.sleep(0.01)
        assert not call.done()
    assert await call == []


async def test_leaving_get_peers_early_cancels_its_lookup() -> None:
    async with Testnet(8) as net:
        for port in (4001, 4002):
            await net.nodes[0].announce(TOPIC, port, repeat=False)
        search = net.nodes[5].get_peers(TOPIC)
        assert (await anext(search))[0] == "127.0.0.1"
        await search.aclose()
        assert net.nodes[5]._waiting == {}


async def test_a_cancelled_call_leaves_nothing_waiting(free_port: Callable[[], int]) -> None:
    async with DhtService(bind=LOOPBACK, bootstrap=[HostPort("127.0.0.1", free_port())]) as node:
        call = asyncio.create_task(node.announce(TOPIC, 4001, repeat=False))
        await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert node._waiting == {}


async def test_a_given_port_is_used_and_a_taken_one_is_a_clear_error(free_port: Callable[[], int]) -> None:
    port = free_port()
    async with DhtService(bind=("127.0.0.1", port), bootstrap=[]) as node:
        assert node.address == ("127.0.0.1", port)
        with pytest.raises(UserError, match=f"127.0.0.1:{port}"):
            async with DhtService(bind=("127.0.0.1", port), bootstrap=[]):
                pass


async def test_the_table_is_saved_and_restored_with_the_node_id(tmp_path: Path) -> None:
    file = tmp_path / "nodes.benc"
    async with Testnet(12) as net:
        async with DhtService(bind=LOOPBACK, bootstrap=net.bootstrap, table_file=file) as first:
            await first.lookup(TOPIC)
            node_id = first.node_id
        async with DhtService(bind=LOOPBACK, bootstrap=[], table_file=file) as again:
            assert again.node_id == node_id
            assert len(await again.lookup(TOPIC)) >= 8


async def test_a_damaged_table_file_is_no_obstacle(tmp_path: Path) -> None:
    file = tmp_path / "nodes.benc"
    file.write_bytes(os.urandom(1000))
    async with DhtService(bind=LOOPBACK, bootstrap=[], table_file=file) as node:
        assert node.stats().contacts_v4 == 0
    async with DhtService(bind=LOOPBACK, bootstrap=[], table_file=tmp_path / "absent" / "nodes.benc"):
        pass


async def test_a_table_of_dead_nodes_is_not_lost_while_offline(tmp_path: Path) -> None:
    file = tmp_path / "nodes.benc"
    async with Testnet(6) as net, DhtService(bind=LOOPBACK, bootstrap=net.bootstrap, table_file=file) as node:
        await node.lookup(TOPIC)
    saved = file.read_bytes()
    async with DhtService(bind=LOOPBACK, bootstrap=[], table_file=file):
        pass
    assert len(file.read_bytes()) == len(saved)


async def test_bad_arguments_are_user_errors_before_anything_is_sent() -> None:
    async with DhtService(bind=LOOPBACK, bootstrap=[]) as node:
        with pytest.raises(UserError):
            await node.lookup(b"short")
        with pytest.raises(UserError):
            await node.announce(TOPIC, 0)
        with pytest.raises(UserError):
            await node.put_immutable(b"v" * 1000)
        with pytest.raises(UserError):
            await node.put_mutable(SEED, b"v", salt=b"s" * 65)
        assert node.stats().queries_out == 0


async def test_a_service_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await DhtService(bind=LOOPBACK, bootstrap=[]).lookup(TOPIC)


# Two families


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="not applicable: no IPv6 loopback here")


@needs_ipv6
async def test_ipv4_and_ipv6_share_a_port_number_and_find_each_others_peers(
    free_port: Callable[[], int],
) -> None:
    async with AsyncExitStack() as stack:
        nodes: list[DhtService] = []
        for _ in range(6):
            port = free_port()
            bootstrap = [HostPort(*node.address) for node in nodes[:1]]
            node = DhtService(bind=("127.0.0.1", port), v6_bind=("::1", port), bootstrap=bootstrap)
            nodes.append(await stack.enter_async_context(node))
            await node.add_nodes([HostPort("::1", other.address[1]) for other in nodes[:1]])
        await asyncio.sleep(0.3)
        await nodes[1].announce(TOPIC, 4001, repeat=False)
        assert set(await peers(nodes[4])) == {("127.0.0.1", 4001), ("::1", 4001)}
        stats = nodes[3].stats()
        assert stats.contacts_v4 >= 3
        assert stats.contacts_v6 >= 3


@needs_ipv6
async def test_the_ipv6_side_is_joined_through_what_ipv4_nodes_tell(free_port: Callable[[], int]) -> None:
    async with AsyncExitStack() as stack:
        nodes: list[DhtService] = []
        first = ("127.0.0.1", free_port()), ("::1", free_port())
        for number in range(3):
            bind, v6_bind = first if not number else (LOOPBACK, ("::1", 0))
            bootstrap = [HostPort(*address) for address in first] if number else []
            node = DhtService(bind=bind, v6_bind=v6_bind, bootstrap=bootstrap)
            nodes.append(await stack.enter_async_context(node))
        await asyncio.sleep(0.2)
        told = DhtService(bind=LOOPBACK, v6_bind=("::1", 0), bootstrap=[HostPort(*nodes[0].address)])
        async with told:
            async with asyncio.timeout(5):
                while told.stats().contacts_v6 < 2:
                    await asyncio.sleep(0.02)


@needs_ipv6
async def test_a_node_on_ipv6_alone_puts_and_gets() -> None:
    async with AsyncExitStack() as stack:
        nodes: list[DhtService] = []
        for _ in range(5):
            bootstrap = [HostPort(*node.address) for node in nodes[:1]]
            nodes.append(await stack.enter_async_context(DhtService(bind=("::1", 0), bootstrap=bootstrap)))
        for node in nodes:
            await node.lookup(node.node_id)
        result = await nodes[2].put_immutable(b"six")
        assert result.stored >= 3
        assert await nodes[4].get_immutable(result.target) == b"six"


# The test network


async def test_a_testnet_stores_and_finds_everything_and_closes_cleanly() -> None:
    async with Testnet(10) as net:
        assert len(net.bootstrap) == 3
        async with DhtService(bind=LOOPBACK, bootstrap=net.bootstrap) as dht:
            assert await dht.announce(TOPIC, 4001, repeat=False) >= 8
            assert await peers(net.nodes[7]) == [("127.0.0.1", 4001)]
            put = await dht.put_mutable(SEED, b"one", republish=False)
            assert (put.seq, put.refused) == (1, 0)
            assert (await dht.put_mutable(SEED, b"two", cas=1, republish=False)).seq == 2
            conflict = await dht.put_mutable(SEED, b"three", cas=1, republish=False)
            assert (conflict.stored, conflict.refused > 0) == (0, True)
            item = await net.nodes[2].get_mutable(KEY)
            assert item is not None
            assert item.value == b"two"


async def test_a_read_only_service_is_kept_in_no_table() -> None:
    async with Testnet(6) as net, DhtService(bind=LOOPBACK, bootstrap=net.bootstrap, read_only=True) as dht:
        assert len(await dht.lookup(TOPIC)) == 6
        await asyncio.sleep(0.05)
        for node in net.nodes:
            contacts = await node.lookup(dht.node_id)
            assert dht.node_id not in [contact.node_id for contact in contacts]


async def test_two_nodes_alone_find_what_each_announced() -> None:
    topic = b"t" * 20
    async with DhtService(bind=("127.0.0.1", 0)) as first:
        bootstrap = [HostPort(*first.address)]
        async with DhtService(bind=("127.0.0.1", 0), bootstrap=bootstrap) as second:
            await second.lookup(second.node_id)
            assert await first.announce(topic, 7001) == 1
            assert ("127.0.0.1", 7001) in [peer async for peer in second.get_peers(topic)]
            assert await second.announce(topic, 7002) == 1
            assert ("127.0.0.1", 7002) in [peer async for peer in first.get_peers(topic)]
