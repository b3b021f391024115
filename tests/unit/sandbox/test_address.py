"""Only addresses of the public internet are public, however they are dressed up."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearrt.errors import UserError
from pearrt.sandbox.address import is_public, join, public_host


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.8", "192.0.2.1", "198.18.0.1",
        "198.51.100.7",
        "203.0.113.9", "192.88.99.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "::8.8.8.8",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::8.8.8.8", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:10::1",
        "2001:db8::1", "2002:7f00:1::1", "2002:a00:1::", "3fff::1", "5f00::1", "fc00::1", "fd12::1",
        "fe80::1",
        "fe80::1%eth0", "2606:4700::1%eth0", "fec0::1", "ff02::1", "ff0e::1", "4000::1",
        "", "localhost", "127.1", "0x7f000001", "2130706433", "010.0.0.1", "8.8.8.8 ", "8.8.8.8\n",
        "[2606:4700::1]",
    ],
)  # fmt: skip
def test_what_is_not_the_public_internet_is_refused(text: str) -> None:
    assert not is_public(text)


@pytest.mark.parametrize(
    "text",
    [
        "8.8.8.8",
        "1.1.1.1",
        "172.15.0.1",
        "172.32.0.1",
        "100.63.0.1",
        "100.128.0.1",
        "2606:4700::1111",
        "2a00::1",
    ],
)
def test_what_is_public_passes(text: str) -> None:
    assert is_public(text)


@given(st.ip_addresses())
def test_nothing_passes_that_the_standard_library_calls_private(address: ipaddress.IPv4Address) -> None:
    if is_public(str(address)):
        assert address.is_global
        special = (address.is_multicast, address.is_private, address.is_loopback, address.is_link_local)
        assert not any(special)


def test_a_name_needs_a_public_form() -> None:
    assert public_host("API.Example.com:0443", "x") == ("api.example.com", 443)
    assert join(*public_host("[2606:4700:0::1111]:53", "x")) == "[2606:4700::1111]:53"
    for bad in (
        "localhost:80",
        "db.internal:80",
        "[::1]:80",
        "8.8.8.8",
        "a b.com:80",
        "x.example.com:0",
        "x.com.:80",
    ):
        with pytest.raises(UserError):
            public_host(bad, "x")
