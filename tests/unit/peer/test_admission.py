"""Bounds on inbound connections."""

from __future__ import annotations

from ipaddress import IPv4Address

from pearrt.peer.admission import MAX_REMEMBERED, Admission, subscriber
from pearrt.peer.limits import PeerLimits


def test_an_address_has_its_bound_and_gets_places_back() -> None:
    admission = Admission(PeerLimits(max_connections_per_address=2))
    assert [admission.admit("192.0.2.1", 0.0) for _ in range(3)] == [True, True, False]
    assert admission.admit("192.0.2.2", 0.0)
    admission.release("192.0.2.1")
    assert [admission.admit("192.0.2.1", 0.0) for _ in range(2)] == [True, False]


def test_all_addresses_together_have_a_bound() -> None:
    admission = Admission(PeerLimits(max_connections=3))
    assert [admission.admit(f"192.0.2.{n}", 0.0) for n in range(4)] == [True, True, True, False]


def test_http_is_bounded_apart_from_peers() -> None:
    admission = Admission(PeerLimits(max_http_connections=1, max_http_connections_per_address=1))
    assert admission.admit_http("192.0.2.1")
    assert not admission.admit_http("192.0.2.2")
    assert admission.admit("192.0.2.2", 0.0)
    admission.release("192.0.2.1", http=True)
    assert admission.admit_http("192.0.2.2")


def test_new_connections_of_an_address_are_rationed() -> None:
    limits = PeerLimits(connection_burst_per_address=5, connections_per_s_and_address=2)
    admission = Admission(limits)

    def tries(host: str, count: int, now: float) -> int:
        admitted = sum(admission.admit(host, now) for _ in range(count))
        for _ in range(admitted):
            admission.release(host)
        return admitted

    assert tries("192.0.2.1", 1000, 0.0) == 5
    assert tries("192.0.2.1", 1000, 1.0) == 2
    assert tries("192.0.2.2", 1, 1.0) == 1
    assert tries("192.0.2.1", 1000, 1000.0) == 5


def test_the_memory_of_rations_is_bounded() -> None:
    admission = Admission(PeerLimits(max_connections=1 << 30))
    for n in range(MAX_REMEMBERED + 100):
        admission.admit(str(IPv4Address(n)), 0.0)
    assert len(admission._rations) == MAX_REMEMBERED


def test_a_subscriber_of_ipv6_is_a_64() -> None:
    assert subscriber("2001:db8:1:2::1") == subscriber("2001:db8:1:2:ffff::9")
    assert subscriber("2001:db8:1:2::1") != subscriber("2001:db8:1:3::1")
    assert subscriber("fe80::1%eth0") == subscriber("fe80::2")
    assert subscriber("::ffff:192.0.2.1") == subscriber("192.0.2.1")
