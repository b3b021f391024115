from __future__ import annotations

from pearrt.dht.tokens import TOKEN_BYTES, Tokens

TARGET = b"t" * 20


def tokens() -> Tokens:
    return Tokens(b"s" * 32, 300.0)


def test_a_token_holds_for_its_own_period_and_the_next() -> None:
    each = tokens()
    token = each.issue("8.1.1.1", TARGET, 10.0)
    assert len(token) == TOKEN_BYTES
    assert each.accepts(token, "8.1.1.1", TARGET, 299.0)
    assert each.accepts(token, "8.1.1.1", TARGET, 599.0)
    assert not each.accepts(token, "8.1.1.1", TARGET, 600.0)


def test_a_token_is_bound_to_address_target_and_secret() -> None:
    each = tokens()
    token = each.issue("8.1.1.1", TARGET, 10.0)
    assert not each.accepts(token, "8.1.1.2", TARGET, 10.0)
    assert not each.accepts(token, "8.1.1.1", b"u" * 20, 10.0)
    assert not Tokens(b"z" * 32, 300.0).accepts(token, "8.1.1.1", TARGET, 10.0)
    assert not each.accepts(b"", "8.1.1.1", TARGET, 10.0)
