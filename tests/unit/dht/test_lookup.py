from __future__ import annotations

import random

from pearrt.dht.contact import Contact
from pearrt.dht.lookup import Lookup
from pearrt.dht.node_id import distance, random_id
from pearrt.dht.settings import DhtSettings

SETTINGS = DhtSettings()
OWN = bytes(20)


def contacts(count: int, seed: int = 1) -> list[Contact]:
    rng = random.Random(seed)
    return [Contact(random_id(rng), (f"{30 + i % 60}.{i // 60}.0.1", 6881)) for i in range(count)]


def lookup(known: list[Contact], width: int = 8) -> Lookup:
    return Lookup(b"t" * 20, known, SETTINGS, width=width, own_id=OWN)


def answer(walk: Lookup, contact: Contact, more: list[Contact] | None = None) -> None:
    walk.answered(contact.address, contact.node_id, b"token", more or [])


def test_at_most_alpha_requests_are_open_and_the_closest_go_first() -> None:
    walk = lookup(contacts(30))
    first = walk.next_contacts()
    nearest = sorted(contacts(30), key=lambda each: distance(each.node_id, walk.target))
    assert first == nearest[: SETTINGS.alpha]
    assert walk.next_contacts() == []
    answer(walk, first[0])
    assert walk.next_contacts() == [nearest[SETTINGS.alpha]]


def test_it_ends_when_the_width_closest_have_answered_and_asks_nobody_else() -> None:
    walk = lookup(contacts(30))
    while not walk.finished:
        for contact in walk.next_contacts():
            answer(walk, contact)
    nearest = sorted(contacts(30), key=lambda each: distance(each.node_id, walk.target))
    assert [contact for contact, _ in walk.closest(8)] == nearest[:8]
    assert walk.requests == 8


def test_it_ends_when_everyone_known_has_answered_even_if_that_is_fewer() -> None:
    walk = lookup(contacts(3))
    for contact in walk.next_contacts():
        assert not walk.finished
        answer(walk, contact)
    assert walk.finished
    assert len(walk.closest(8)) == 3


def test_an_empty_lookup_is_finished_at_once() -> None:
    assert lookup([]).finished


def test_a_late_node_frees_its_place_and_may_still_answer() -> None:
    walk = lookup(contacts(30))
    first = walk.next_contacts()
    walk.late(first[0].address)
    assert len(walk.next_contacts()) == 1
    answer(walk, first[0])
    assert first[0] in [contact for contact, _ in walk.closest(8)]


def test_a_late_node_does_not_hold_up_a_lookup_that_width_others_have_answered() -> None:
    walk = lookup(contacts(30))
    mute = walk.next_contacts()
    for contact in mute:
        walk.late(contact.address)
    while not walk.finished:
        for contact in walk.next_contacts():
            answer(walk, contact)
    assert len(walk.closest(20)) == 8


def test_with_fewer_answers_late_nodes_are_waited_for_until_they_are_overdue() -> None:
    walk = lookup(contacts(3))
    slow, *quick = walk.next_contacts()
    for contact in quick:
        answer(walk, contact)
    walk.late(slow.address)
    assert not walk.finished
    walk.overdue(slow.address)
    assert walk.finished


def test_with_no_answer_at_all_overdue_nodes_are_waited_for_until_they_fail() -> None:
    walk = lookup(contacts(2))
    for contact in walk.next_contacts():
        walk.late(contact.address)
        walk.overdue(contact.address)
    assert not walk.finished
    for contact in contacts(2):
        walk.failed(contact.address)
    assert walk.finished


def test_a_failed_node_is_passed_over() -> None:
    walk = lookup(contacts(30))
    dead = walk.next_contacts()[0]
    walk.failed(dead.address)
    while not walk.finished:
        for contact in walk.next_contacts():
            answer(walk, contact)
        for contact in contacts(30):
            if contact != dead:
                answer(walk, contact)
    assert dead not in [contact for contact, _ in walk.closest(8)]


def test_contacts_named_in_answers_are_followed_and_hops_counted() -> None:
    chain = sorted(contacts(5), key=lambda each: -distance(each.node_id, b"t" * 20))
    walk = lookup(chain[:1])
    for i in range(5):
        (asked,) = walk.next_contacts()
        assert asked == chain[i]
        answer(walk, asked, chain[i + 1 : i + 2])
    assert walk.finished
    assert walk.hops == 5


def test_a_seed_without_id_is_asked_first_and_filed_under_the_id_it_has() -> None:
    walk = lookup(contacts(30))
    walk.add_seed(("8.1.1.1", 6881))
    first = walk.next_contacts()
    assert first[0].address == ("8.1.1.1", 6881)
    real = Contact(b"t" * 20, ("8.1.1.1", 6881))
    answer(walk, real)
    assert walk.closest(1) == [(real, b"token")]


def test_a_node_that_answers_under_another_id_is_filed_under_that_one() -> None:
    walk = lookup(contacts(3))
    told = walk.next_contacts()[0]
    walk.answered(told.address, b"z" * 20, b"token", [])
    assert walk.closest(1) == [(Contact(b"z" * 20, told.address), b"token")]


def test_we_never_ask_ourselves() -> None:
    walk = lookup(contacts(1))
    answer(walk, walk.next_contacts()[0], [Contact(OWN, ("8.1.1.1", 6881))])
    assert walk.next_contacts() == []


def test_candidates_are_bounded_and_the_farthest_give_way() -> None:
    walk = lookup(contacts(SETTINGS.max_candidates * 3))
    assert len(walk._order) == SETTINGS.max_candidates
    nearest = sorted(
        contacts(SETTINGS.max_candidates * 3), key=lambda each: distance(each.node_id, walk.target)
    )
    assert walk.next_contacts() == nearest[: SETTINGS.alpha]


def _nearest(everyone: list[Contact], target: bytes, count: int) -> list[Contact]:
    return sorted(everyone, key=lambda each: distance(each.node_id, target))[:count]


def _walk_through(everyone: list[Contact], width: int) -> Lookup:
    """A lookup that begins with one contact; every node knows all others and names the 8 nearest."""
    walk = lookup(everyone[:1], width)
    while not walk.finished:
        for contact in walk.next_contacts():
            answer(walk, contact, _nearest(everyone, walk.target, 8))
        for contact, target in walk.next_widening():
            walk.widened(contact.address, _nearest(everyone, target, 8))
    return walk


def test_a_cold_lookup_for_storing_widens_until_it_has_the_20_nearest_though_replies_hold_8() -> None:
    everyone = contacts(300)
    walk = _walk_through(everyone, 20)
    found = [contact for contact, _ in walk.closest(20)]
    assert len(set(found) & set(_nearest(everyone, walk.target, 20))) >= 18
    assert walk.requests <= 45


def test_a_search_does_not_widen() -> None:
    walk = _walk_through(contacts(300), 8)
    assert walk.requests <= 10


def test_widening_ends_in_a_network_smaller_than_its_width() -> None:
    walk = _walk_through(contacts(12), 20)
    assert len(walk.closest(20)) >= 10
    assert walk.requests <= 12 + 8
