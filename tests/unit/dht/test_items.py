from __future__ import annotations

import pytest

from pearrt.crypto import ed25519
from pearrt.dht.items import (
    BAD_SIGNATURE,
    CAS_MISMATCH,
    OLD_SEQ,
    ImmutableItem,
    ItemTable,
    MutableItem,
    immutable_item,
    mutable_target,
    sign_item,
    signed_text,
)
from pearrt.errors import UserError

# BEP 44, "Test vectors".
KEY = bytes.fromhex("77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548")
HELLO = b"12:Hello World!"
UNSALTED = bytes.fromhex(
    "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff"
    "1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01"
)
SALTED = bytes.fromhex(
    "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d"
    "df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08"
)
SEED = b"s" * 32


def test_the_mutable_vectors_of_bep_44() -> None:
    plain = MutableItem(KEY, b"", 1, HELLO, UNSALTED)
    salted = MutableItem(KEY, b"foobar", 1, HELLO, SALTED)
    assert signed_text(b"", 1, HELLO) == b"3:seqi1e1:v12:Hello World!"
    assert signed_text(b"foobar", 1, HELLO) == b"4:salt6:foobar3:seqi1e1:v12:Hello World!"
    assert plain.target.hex() == "4a533d47ec9c7d95b1ad75f576cffc641853b750"
    assert salted.target.hex() == "411eba73b6f087ca51a3795d9c8c938d365e32c1"
    assert plain.verifies()
    assert salted.verifies()
    assert not MutableItem(KEY, b"", 1, HELLO, SALTED).verifies()


def test_the_immutable_vector_of_bep_44() -> None:
    assert immutable_item(b"Hello World!").target.hex() == "e5f96f6f38320f0f33959cb4d3d656452117aadb"


def test_a_signed_item_verifies_and_any_change_breaks_it() -> None:
    item = sign_item(SEED, b"value", salt=b"salt", seq=3)
    assert item.verifies()
    assert item.value == b"value"
    assert item.target == mutable_target(ed25519.public_key(SEED), b"salt")
    for changed in (
        MutableItem(item.public_key, b"", item.seq, item.encoded, item.signature),
        MutableItem(item.public_key, item.salt, 4, item.encoded, item.signature),
        MutableItem(item.public_key, item.salt, item.seq, b"5:other", item.signature),
    ):
        assert not changed.verifies()


def test_our_own_values_are_refused_past_the_bounds_with_a_clear_error() -> None:
    assert immutable_item(b"v" * 996).encoded[:4] == b"996:"
    with pytest.raises(UserError, match="1000"):
        immutable_item(b"v" * 997)
    with pytest.raises(UserError, match="salt"):
        sign_item(SEED, b"v", salt=b"s" * 65, seq=1)
    with pytest.raises(UserError, match="sequence"):
        sign_item(SEED, b"v", salt=b"", seq=2**63)


def test_a_foreign_item_that_is_no_string_is_shown_as_its_bencoding() -> None:
    assert ImmutableItem(b"li1ei2ee").value == b"li1ei2ee"


def table(max_items: int = 10) -> ItemTable:
    return ItemTable(bytes(20), max_items=max_items, lifetime_s=7200)


def test_an_item_lives_two_hours_and_putting_it_again_renews_it() -> None:
    items = table()
    item = sign_item(SEED, b"v", salt=b"", seq=1)
    assert items.put(item, 0.0) is None
    assert items.get(item.target, 7199.0) == item
    assert items.get(item.target, 7201.0) is None
    items.put(item, 7000.0)
    assert items.get(item.target, 14000.0) == item


def test_refusals_follow_bep_44() -> None:
    items = table()
    items.put(sign_item(SEED, b"five", salt=b"", seq=5), 0.0)
    assert items.put(sign_item(SEED, b"four", salt=b"", seq=4), 0.0) == OLD_SEQ
    assert items.put(sign_item(SEED, b"other", salt=b"", seq=5), 0.0) == OLD_SEQ
    assert items.put(sign_item(SEED, b"six", salt=b"", seq=6), 0.0, cas=4) == CAS_MISMATCH
    assert items.put(MutableItem(ed25519.public_key(SEED), b"", 7, b"1:x", bytes(64)), 0.0) == BAD_SIGNATURE
    assert items.put(sign_item(SEED, b"six", salt=b"", seq=6), 0.0, cas=5) is None


def test_a_full_table_drops_the_item_farthest_from_its_node() -> None:
    items = table(max_items=3)
    stored = [immutable_item(b"%d" % i) for i in range(20)]
    for item in stored:
        items.put(item, 0.0)
    kept = {item.target for item in stored if items.get(item.target, 1.0)}
    nearest = sorted(item.target for item in stored)
    assert len(kept) == 3
    assert set(nearest[:2]) <= kept
