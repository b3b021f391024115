from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearrt.dht.contact import (
    Contact,
    Family,
    PrefixLimit,
    Scope,
    pack_address,
    pack_contacts,
    prefix_of,
    scope_of,
    unpack_address,
    unpack_contacts,
    usable,
)

hosts = st.ip_addresses().map(str)
ports = st.integers(0, 65535)


@given(hosts, ports)
def test_addresses_survive_packing(host: str, port: int) -> None:
    packed = pack_address((host, port))
    assert len(packed) == (18 if ":" in host else 6)
    assert unpack_address(packed) == (host, port)


@given(
    st.lists(st.tuples(st.binary(min_size=20, max_size=20), st.ip_addresses(v=4).map(str), ports), max_size=9)
)
def test_contacts_survive_packing(entries: list[tuple[bytes, str, int]]) -> None:
    contacts = [Contact(node_id, (host, port)) for node_id, host, port in entries]
    assert unpack_contacts(pack_contacts(contacts), Family.V4) == contacts


@pytest.mark.parametrize(
    ("family", "size"), [(Family.V4, 25), (Family.V4, 27), (Family.V6, 26), (Family.V6, 37)]
)
def test_contacts_of_no_whole_number_are_refused(family: Family, size: int) -> None:
    with pytest.raises(ValueError):
        unpack_contacts(bytes(size), family)


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("8.1.2.3", Scope.PUBLIC),
        ("2a01:4f8::1", Scope.PUBLIC),
        ("127.0.0.1", Scope.LOOPBACK),
        ("::1", Scope.LOOPBACK),
        ("10.0.0.1", Scope.PRIVATE),
        ("172.16.0.1", Scope.PRIVATE),
        ("192.168.0.1", Scope.PRIVATE),
        ("fd00::1", Scope.PRIVATE),
        ("0.0.0.0", Scope.UNUSABLE),
        ("224.0.0.1", Scope.UNUSABLE),
        ("255.255.255.255", Scope.UNUSABLE),
        ("169.254.0.1", Scope.UNUSABLE),
        ("fe80::1", Scope.UNUSABLE),
        ("fe80::1%2", Scope.UNUSABLE),
        ("ff02::1", Scope.UNUSABLE),
        ("::", Scope.UNUSABLE),
        ("::ffff:8.1.2.3", Scope.UNUSABLE),
        ("example.invalid", Scope.UNUSABLE),
    ],
)
def test_scopes(host: str, scope: Scope) -> None:
    assert scope_of(host) is scope


def test_prefixes_are_24_and_48_bits_and_none_on_local_networks() -> None:
    assert prefix_of("8.1.2.3") == prefix_of("8.1.2.250") != prefix_of("8.1.3.3")
    assert prefix_of("2a01:4f8:1:2::1") == prefix_of("2a01:4f8:1:ff::9") != prefix_of("2a01:4f8:2::1")
    assert prefix_of("127.0.0.1") is prefix_of("192.168.1.1") is prefix_of("fd00::1") is None


def test_local_addresses_are_usable_only_when_a_local_node_names_them() -> None:
    assert usable(("8.1.2.3", 1), "8.9.9.9")
    assert not usable(("10.0.0.1", 1), "8.9.9.9")
    assert usable(("10.0.0.1", 1), "192.168.0.1")
    assert not usable(("8.1.2.3", 0), "192.168.0.1")


def test_a_prefix_gets_its_places_back() -> None:
    limit = PrefixLimit(2)
    assert [limit.admit(f"8.1.2.{i}") for i in range(1, 4)] == [True, True, False]
    limit.release("8.1.2.1")
    assert limit.admit("8.1.2.9")
    assert all(limit.admit("127.0.0.1") for _ in range(100))
