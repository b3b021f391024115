from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from pearrt.dht.contact import Contact
from pearrt.dht.node_id import distance, id_with_prefix, random_id, secure_id
from pearrt.dht.routing import RoutingTable
from pearrt.dht.settings import DhtSettings

SETTINGS = DhtSettings()


def contact(rng: random.Random, node_id: bytes | None = None) -> Contact:
    host = f"{rng.randrange(30, 90)}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
    return Contact(node_id or random_id(rng), (host, 6881))


def filled(rng: random.Random, count: int) -> RoutingTable:
    table = RoutingTable(random_id(rng), SETTINGS)
    for _ in range(count):
        table.answered(contact(rng), 0.0)
    return table


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_closest_is_what_sorting_all_entries_would_give(seed: int, count: int) -> None:
    rng = random.Random(seed)
    table = filled(rng, 120)
    for target in (random_id(rng), table.own_id, next(iter(table)).contact.node_id):
        by_distance = sorted(
            (entry.contact for entry in table), key=lambda each: distance(each.node_id, target)
        )
        assert table.closest(target, count) == by_distance[:count]


def test_buckets_hold_at_most_k_and_old_nodes_stay() -> None:
    rng = random.Random(1)
    table = filled(rng, 30)
    old = {entry.contact for entry in table}
    for _ in range(500):
        table.answered(contact(rng), 1.0)
    assert old <= {entry.contact for entry in table}
    assert all(size <= SETTINGS.bucket_size for _, size in table.buckets())


def test_a_query_alone_does_not_make_an_entry() -> None:
    rng = random.Random(1)
    table = RoutingTable(random_id(rng), SETTINGS)
    stranger = contact(rng)
    assert table.asked(stranger, 0.0)
    assert len(table) == 0
    table.answered(stranger, 0.0)
    assert len(table) == 1
    assert not table.asked(stranger, 0.0)


def full_bucket(rng: random.Random) -> tuple[RoutingTable, list[Contact]]:
    table = RoutingTable(random_id(rng), SETTINGS)
    members = [contact(rng, id_with_prefix(table.own_id, 0, rng)) for _ in range(SETTINGS.bucket_size)]
    for member in members:
        table.answered(member, 0.0)
    return table, members


def test_a_failing_node_gives_way_to_a_waiting_replacement() -> None:
    rng = random.Random(2)
    table, members = full_bucket(rng)
    waiting = contact(rng, id_with_prefix(table.own_id, 0, rng))
    table.answered(waiting, 1.0)
    assert waiting.node_id not in table
    assert table.failed(members[3]) is None
    assert table.failed(members[3]) == waiting
    assert members[3].node_id not in table


def test_without_replacement_a_node_is_dropped_after_three_failures_in_a_row() -> None:
    rng = random.Random(2)
    table = filled(rng, 5)
    member = next(iter(table)).contact
    for _ in range(2):
        table.failed(member)
    table.answered(member, 1.0)
    for _ in range(3):
        assert member.node_id in table
        table.failed(member)
    assert member.node_id not in table


def test_nodes_that_failed_twice_are_not_handed_on() -> None:
    rng = random.Random(2)
    table = filled(rng, 5)
    member = next(iter(table)).contact
    table.failed(member)
    table.failed(member)
    assert member not in table.closest(member.node_id, 8)


def test_a_node_whose_id_fits_its_address_replaces_one_whose_does_not() -> None:
    rng = random.Random(2)
    table, _ = full_bucket(rng)
    index = 0
    while True:
        candidate = contact(rng)
        node_id = secure_id(candidate.address[0], rng)
        if table.bucket_of(node_id) == index:
            break
    table.answered(Contact(node_id, candidate.address), 1.0)
    assert node_id in table
    assert dict(table.buckets())[index] == SETTINGS.bucket_size


def test_an_address_under_a_new_id_replaces_the_old_entry() -> None:
    rng = random.Random(3)
    table = filled(rng, 3)
    old = next(iter(table)).contact
    table.answered(Contact(random_id(rng), old.address), 1.0)
    assert old.node_id not in table
    assert len(table) == 3


def test_our_own_id_is_never_an_entry() -> None:
    rng = random.Random(3)
    table = filled(rng, 3)
    table.answered(contact(rng, table.own_id), 1.0)
    assert table.own_id not in table


def test_the_stalest_entry_is_found() -> None:
    rng = random.Random(3)
    table = filled(rng, 3)
    members = [entry.contact for entry in table]
    for when, member in enumerate(members):
        table.answered(member, 10.0 - when)
    stalest = table.stalest()
    assert stalest is not None
    assert stalest.contact == members[2]
