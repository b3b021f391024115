from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearrt.dht.node_id import ID_BITS, crc32c, distance, id_with_prefix, is_secure, random_id, secure_id

# BEP 42, "Test vectors".
BEP42 = [
    ("124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
    ("21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
    ("65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
    ("84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
    ("43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
]


def test_crc32c_matches_its_check_value() -> None:
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize(("host", "node_id"), BEP42)
def test_the_ids_of_bep_42_are_secure(host: str, node_id: str) -> None:
    assert is_secure(bytes.fromhex(node_id), host)
    assert not is_secure(bytes.fromhex(node_id), "8.8.1.1")


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str), st.randoms(use_true_random=False))
def test_made_ids_are_secure_for_their_address(host: str, rng: random.Random) -> None:
    assert is_secure(secure_id(host, rng), host)


def test_local_networks_are_exempt() -> None:
    assert is_secure(bytes(20), "127.0.0.1")
    assert is_secure(bytes(20), "192.168.1.7")
    assert not is_secure(bytes(20), "8.1.2.3")


@given(st.binary(min_size=20, max_size=20), st.integers(0, 159), st.randoms(use_true_random=False))
def test_an_id_with_a_prefix_shares_exactly_that_many_bits(own: bytes, bits: int, rng: random.Random) -> None:
    assert ID_BITS - distance(own, id_with_prefix(own, bits, rng)).bit_length() == bits


def test_distance_is_a_metric() -> None:
    rng = random.Random(1)
    a, b, c = (random_id(rng) for _ in range(3))
    assert distance(a, a) == 0
    assert distance(a, b) == distance(b, a)
    assert distance(a, c) <= distance(a, b) + distance(b, c)
