from __future__ import annotations

import math
import random

from pearrt.dht.contact import Contact
from pearrt.dht.operations import FindNodes
from pearrt.dht.requests import Purpose, Requests

CONTACT = Contact(b"n" * 20, ("8.1.1.1", 6881))
OPERATION = FindNodes(b"t" * 20)


def requests() -> Requests:
    return Requests(short_timeout_s=1.0, full_timeout_s=4.0, limit=3, rng=random.Random(1))


def test_a_lookups_request_is_late_then_overdue_then_failed() -> None:
    each = requests()
    each.open(CONTACT, OPERATION, Purpose.SEARCH, 0.0)
    assert each.next_deadline() == 1.0
    assert len(each.take_late(1.0)) == len(each.take_overdue(1.0)) == 1
    assert each.next_deadline() == 4.0
    assert len(each.take_failed(4.0)) == 1
    assert len(each) == 0
    assert each.next_deadline() == math.inf


def test_lateness_follows_measured_round_trips_within_its_bounds() -> None:
    each = requests()
    for i in range(50):
        each.close(each.open(CONTACT, OPERATION, Purpose.SEARCH, float(i)), CONTACT.address, i + 0.02)
    each.open(CONTACT, OPERATION, Purpose.SEARCH, 100.0)
    assert 100.1 < each.next_deadline() < 100.3
    assert each.take_overdue(100.9) == []
    assert len(each.take_overdue(101.0)) == 1


def test_writes_and_pings_are_never_late_only_failed() -> None:
    each = requests()
    each.open(CONTACT, OPERATION, Purpose.WRITE, 0.0)
    each.open(CONTACT, None, Purpose.UPKEEP, 0.0)
    assert each.take_late(3.9) == each.take_overdue(3.9) == []
    assert len(each.take_failed(4.0)) == 2


def test_an_answer_closes_its_request_once_and_only_from_the_address_asked() -> None:
    each = requests()
    transaction = each.open(CONTACT, OPERATION, Purpose.SEARCH, 0.0)
    assert each.close(transaction, ("8.1.1.2", 6881), 0.1) is None
    assert each.close(transaction, ("8.1.1.1", 6882), 0.1) is None
    assert each.close(transaction, CONTACT.address, 0.1) is not None
    assert each.close(transaction, CONTACT.address, 0.1) is None
    assert each.take_failed(9.0) == []


def test_requests_are_bounded() -> None:
    each = requests()
    for _ in range(3):
        each.open(CONTACT, None, Purpose.UPKEEP, 0.0)
    assert each.full
