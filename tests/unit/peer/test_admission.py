"""Bounds on inbound connections."""

from __future__ import annotations

from pearrt.peer.admission import Admission, subscriber
from pearrt.peer.limits import PeerLimits


def test_an_address_has_its_bound_and_gets_places_back() -> None:
    admission = Admission(PeerLimits(max_connections_per_address=2))
    assert [admission.admit("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert admission.admit("192.0.2.2")
    admission.release("192.0.2.1")
    assert [admission.admit("192.0.2.1") for _ in range(2)] == [True, False]


def test_all_addresses_together_have_a_bound() -> None:
    admission = Admission(PeerLimits(max_connections=3))
    assert [admission.admit(f"192.0.2.{n}") for n in range(4)] == [True, True, True, False]


def test_http_is_bounded_apart_from_peers() -> None:
    admission = Admission(PeerLimits(max_http_connections=1, max_http_connections_per_address=1))
    assert admission.admit("192.0.2.1", http=True)
    assert not admission.admit("192.0.2.2", http=True)
    assert admission.admit("192.0.2.2")
    admission.release("192.0.2.1", http=True)
    assert admission.admit("192.0.2.2", http=True)


def test_a_subscriber_of_ipv6_is_a_64() -> None:
    assert subscriber("2001:db8:1:2::1") == subscriber("2001:db8:1:2:ffff::9")
    assert subscriber("2001:db8:1:2::1") != subscriber("2001:db8:1:3::1")
    assert subscriber("fe80::1%eth0") == subscriber("fe80::2")
    assert subscriber("::ffff:192.0.2.1") == subscriber("192.0.2.1")
