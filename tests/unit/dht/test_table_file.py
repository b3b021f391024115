from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pearrt.dht.contact import Contact, Family
from pearrt.dht.table_file import SavedTable, decode, encode

V4 = SavedTable(b"a" * 20, (Contact(b"n" * 20, ("8.1.2.3", 6881)), Contact(b"m" * 20, ("8.1.2.4", 1))))
V6 = SavedTable(b"b" * 20, (Contact(b"n" * 20, ("2a01:4f8::1", 6881)),))
EMPTY = {Family.V4: SavedTable(), Family.V6: SavedTable()}


def test_both_families_are_saved_and_restored() -> None:
    assert decode(encode({Family.V4: V4, Family.V6: V6})) == {Family.V4: V4, Family.V6: V6}
    assert decode(encode({Family.V4: V4})) == {Family.V4: V4, Family.V6: SavedTable()}


@given(st.binary(max_size=100))
def test_a_damaged_file_counts_as_empty(data: bytes) -> None:
    assert decode(data) == EMPTY


def test_a_truncated_or_foreign_file_counts_as_empty() -> None:
    data = encode({Family.V4: V4})
    assert decode(data[:-1]) == EMPTY
    assert decode(data.replace(b"1:vi1e", b"1:vi2e")) == EMPTY
    assert decode(b"") == EMPTY
