"""Have-sets and their wire form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearrt.errors import ProtocolViolation
from pearrt.swarm.have import HaveSet


@given(st.integers(0, 300).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, max(n - 1, 0))))))
def test_round_trip_and_set_behaviour(case: tuple[int, set[int]]) -> None:
    total, wanted = case
    wanted = {n for n in wanted if n < total}
    held = HaveSet(total, wanted)
    assert set(held) == wanted
    assert len(held) == held.count == len(wanted)
    assert set(held.missing()) == set(range(total)) - wanted
    assert held.complete == (len(wanted) == total)
    again = HaveSet.decode(held.encode(), total)
    assert set(again) == wanted
    assert again.count == held.count


def test_bit_zero_is_the_top_bit_of_byte_zero() -> None:
    assert HaveSet(10, [0, 9]).encode() == bytes([0x80, 0x40])
    assert HaveSet.full(10).encode() == bytes([0xFF, 0xC0])
    assert HaveSet.full(16).encode() == bytes([0xFF, 0xFF])
    assert HaveSet.full(0).encode() == b""


@pytest.mark.parametrize(
    ("data", "total"), [(b"\xff\xe0", 10), (b"\xff", 10), (b"\xff\xff\xff", 10), (b"", 1)]
)
def test_a_bit_field_of_the_wrong_shape_is_refused(data: bytes, total: int) -> None:
    with pytest.raises(ProtocolViolation):
        HaveSet.decode(data, total)


def test_adding_twice_is_no_news_and_removing_works() -> None:
    held = HaveSet(5)
    assert held.add(3)
    assert not held.add(3)
    assert held.discard(3)
    assert not held.discard(3)
    assert 3 not in held
    with pytest.raises(IndexError):
        held.add(5)
    assert 5 not in held
    assert -1 not in held
