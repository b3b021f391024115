"""LAN discovery: what is advertised, what is believed, and configured hosts."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from pearrt.lan.advertisement import MAX_NEIGHBOURS, Neighbours, instance_name, usable_addresses
from pearrt.lan.hosts import HostsFinder
from pearrt.lan.service import LanService
from pearrt.link import HostPort
from tests.support.swarm_apps import Bundle, FakeApp, running_peer

GOOD = {b"v": b"1"}


def test_addresses_of_other_versions_and_nonsense_are_not_believed() -> None:
    assert usable_addresses(["10.0.0.7", "fd00::7"], 7000, GOOD) == (("10.0.0.7", 7000), ("fd00::7", 7000))
    assert usable_addresses(["10.0.0.7"], 7000, {b"v": b"2"}) == ()
    assert usable_addresses(["10.0.0.7"], 7000, {}) == ()
    assert usable_addresses(["10.0.0.7"], 0, GOOD) == ()
    assert usable_addresses(["10.0.0.7"], None, GOOD) == ()
    assert usable_addresses(["224.0.0.1", "0.0.0.0", "example", "fe80::1", "ff02::1"], 7000, GOOD) == ()


def test_one_neighbour_cannot_name_addresses_without_end() -> None:
    assert len(usable_addresses([f"10.0.0.{n}" for n in range(200)], 7000, GOOD)) == 8


def test_a_flood_of_instances_is_bounded_and_leaves_the_known_ones() -> None:
    neighbours = Neighbours()
    first = (("10.0.0.1", 7000),)
    assert neighbours.heard("first", first) == list(first)
    for n in range(5000):
        neighbours.heard(f"fake {n}", (("10.1.0.1", n + 1),))
    assert len(neighbours.addresses) == MAX_NEIGHBOURS
    assert neighbours.addresses[0] == first[0]


def test_only_news_is_told_and_what_left_is_forgotten() -> None:
    neighbours = Neighbours()
    one, two = ("10.0.0.1", 7000), ("10.0.0.1", 7001)
    assert neighbours.heard("a", (one,)) == [one]
    assert neighbours.heard("a", (one, two)) == [two]
    neighbours.gone("a")
    assert neighbours.addresses == []


def test_the_instance_name_is_random_and_short() -> None:
    assert instance_name(bytes(range(8))) == "0001020304050607._pearrt._tcp.local."


async def test_configured_hosts_are_resolved_and_unknown_ones_left_out() -> None:
    finder = HostsFinder([HostPort("127.0.0.1", 7000), HostPort("localhost", 7001)])
    found = [address async for address in finder.find(bytes(32))]
    assert ("127.0.0.1", 7000) in found
    assert any(port == 7001 for _, port in found)


async def test_off_means_no_mdns_at_all() -> None:
    async with LanService(port=7000, mdns="off") as lan:
        assert [address async for address in lan.find(bytes(32))] == []


@pytest.mark.alone
async def test_two_services_on_loopback_find_each_other() -> None:
    async with LanService(port=7001, mdns="loopback") as one, LanService(port=7002, mdns="loopback") as two:
        if one.error:
            pytest.skip(one.error)
        for finder, port in ((one, 7002), (two, 7001)):
            async with asyncio.timeout(5), aclosing(finder.find(bytes(32))) as found:
                while (await anext(found))[1] != port:
                    pass


@pytest.mark.alone
async def test_peers_meet_and_fetch_by_mdns_alone(tmp_path: Path) -> None:
    bundle = Bundle.make(4)
    async with running_peer(tmp_path / "a") as a, LanService(port=a.address[1], mdns="loopback") as lan:
        if lan.error:
            pytest.skip(lan.error)
        bundle.put_into(a.store)
        (await a.swarm.join(FakeApp())).set_bundle(bundle.digest, bundle.ids)
        async with (
            LanService(port=1, mdns="loopback") as finder,
            running_peer(tmp_path / "b", finders=(finder,)) as b,
        ):
            leecher = await b.swarm.join(FakeApp())
            leecher.set_bundle(bundle.digest, bundle.ids)
            await leecher.fetch(bundle.refs, patience_s=10)
            assert all(b.store.has(block_id) for block_id in bundle.ids)
