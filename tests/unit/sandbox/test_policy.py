"""Permissions: what is asked is what is described, compared and bounded; anything unclear is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearrt.errors import UserError
from pearrt.sandbox.policy import GIB, MIB, Permissions, format_size, parse_optional, parse_size

FULL: dict[str, Any] = {
    "storage": "5 GiB", "memory": "4 GiB", "cpu": 8, "processes": 512, "p2p": ["store", "join"], "ui": True,
    "net": {"hosts": ["API.example.com:443", "[2606:4700::1111]:53"]}, "notify": True, "clipboard": True,
    "background": True, "run": {"native": True}, "files": True,
}  # fmt: skip


def test_an_empty_table_asks_for_the_least() -> None:
    assert Permissions.parse({}) == Permissions()
    assert not Permissions().widens(Permissions())
    assert any("no access to the network" in line for line in Permissions().describe())


def test_equal_requests_have_one_digest_however_they_are_written() -> None:
    a = Permissions.parse(FULL)
    b = Permissions.parse(
        {**FULL, "storage": 5 * GIB, "memory": "4096 MiB", "p2p": ["join", "store", "join"][:2]}
        | {"net": {"hosts": ["[2606:4700:0::1111]:053", "api.EXAMPLE.com:0443"]}}
    )
    assert a == b
    assert a.digest() == b.digest()
    dotted = {key: value for key, value in FULL.items() if key not in ("net", "run")}
    assert Permissions.parse({**dotted, "net.hosts": FULL["net"]["hosts"], "run.native": True}) == a


@pytest.mark.parametrize("field", [item.name for item in dataclasses.fields(Permissions)])
def test_every_permission_changes_the_digest_and_widens(field: str) -> None:
    least, most = Permissions(), Permissions.parse(FULL)
    wider = dataclasses.replace(least, **{field: getattr(most, field)})
    assert wider.digest() != least.digest()
    assert wider.widens(least)
    assert not least.widens(wider)
    assert most.widens(least)
    assert not wider.widens(most)


@pytest.mark.parametrize("field", [item.name for item in dataclasses.fields(Permissions)])
def test_every_permission_is_described(field: str) -> None:
    least = Permissions()
    wider = dataclasses.replace(least, **{field: getattr(Permissions.parse(FULL), field)})
    assert wider.describe() != least.describe()


def test_each_part_of_p2p_has_its_own_line_and_says_how_much_may_be_kept() -> None:
    least = Permissions.parse({"storage": "3 MiB"}).describe()
    asked = Permissions.parse({"p2p": ["join", "store"], "storage": "3 MiB"}).describe()
    told = [line for line in asked if line not in least]
    assert len(told) == 2
    assert "up to 3 MiB more" in told[1]


def test_a_network_grant_names_the_host_and_says_that_there_is_no_other() -> None:
    lines = Permissions.parse({"net": {"hosts": ["example.com:443"]}}).describe()
    assert "connect to example.com:443" in lines
    assert "no other access to the network, to your files or to other programs" in lines


def test_what_the_person_refused_is_not_in_what_is_left() -> None:
    asked = Permissions.parse(FULL)
    left = asked.without(["notify", "api.example.com:443"])
    assert (left.notify, left.net_hosts) == (False, ("[2606:4700::1111]:53",))
    assert asked.without(["net.hosts"]).net_hosts == ()
    assert (left.memory_bytes, left.clipboard) == (asked.memory_bytes, True)
    assert asked.without(["no such", "memory"]) == asked
    assert asked.without(asked.optional()).optional() == []


def test_an_app_gets_what_it_asks_for_and_the_person_gave_and_nothing_else() -> None:
    asked, given = Permissions.parse(FULL), Permissions.parse({"notify": True, "memory": "1 GiB"})
    both = asked.within(given)
    assert (both.notify, both.clipboard, both.net_hosts) == (True, False, ())
    assert both == given.within(asked)
    assert not both.widens(asked)
    assert not both.widens(given)


@pytest.mark.parametrize("text", ["memory", "", "everything", "127.0.0.1:80", "example.com", "-"])
def test_only_an_optional_permission_can_be_given_alone(text: str) -> None:
    with pytest.raises(UserError):
        parse_optional(text)
    assert parse_optional("API.example.com:0443") == "api.example.com:443"


@pytest.mark.parametrize(
    "table",
    [
        {"filesystem": True},
        {"net": {"host": ["example.com:443"]}},
        {"net": True},
        {"net": {"hosts": {"a": 1}}},
        {"memory": "1 MiB"},
        {"memory": "300 GiB"},
        {"memory": "lots"},
        {"memory": "-1 GiB"},
        {"memory": True},
        {"memory": 1.5},
        {"memory": "9" * 40},
        {"storage": "0 B"},
        {"cpu": 0},
        {"cpu": True},
        {"cpu": "4"},
        {"processes": 1},
        {"p2p": "join"},
        {"p2p": ["join", "rule"]},
        {"p2p": [1]},
        {"ui": 1},
        {"ui": "yes"},
        {"run": {"native": None}},
        {"memory": "1 GiB", "net.hosts": [], "net": {"hosts": []}},
        {1: True},
    ],
)
def test_what_is_unknown_or_out_of_bounds_is_refused(table: dict[Any, Any]) -> None:
    with pytest.raises(UserError):
        Permissions.parse(table)


@pytest.mark.parametrize(
    "host",
    [
        "example.com", "example.com:0", "example.com:65536", "example.com:https", ":443",
        "localhost:80", "a.localhost:80", "printer.local:631", "db.internal:5432", "router.lan:80",
        "127.0.0.1:80", "127.1:80", "2130706433:80", "0x7f000001:80", "10.0.0.1:80",
        "192.168.1.1:80", "169.254.169.254:80", "100.64.0.1:80", "0.0.0.0:80", "224.0.0.1:80",
        "[::1]:80", "[fe80::1]:80", "[fc00::1]:80", "[::ffff:127.0.0.1]:80", "[::]:80",
        "*.example.com:443", "exa mple.com:443", "example.com\n:443", "user@example.com:443",
        "example.com/x:443", "exämple.com:443", "\x1b[31mexample.com:443", "single:443",
        "example.com.:443", "a" * 300 + ".com:443", "1.2.3:80",
    ],
)  # fmt: skip
def test_a_host_that_is_not_public_or_not_exact_is_refused(host: str) -> None:
    with pytest.raises(UserError) as caught:
        Permissions.parse({"net": {"hosts": [host]}})
    assert caught.value.message.isprintable()


def test_an_unknown_key_gets_a_suggestion() -> None:
    with pytest.raises(UserError) as caught:
        Permissions.parse({"memmory": "1 GiB"})
    assert "memory" in caught.value.hint


def test_sizes_read_and_print() -> None:
    assert parse_size("64 MiB") == 64 * MIB
    assert parse_size("1GB") == 10**9
    assert parse_size("512") == 512
    assert format_size(64 * MIB) == "64 MiB"
    assert format_size(3 * GIB // 2) == "1.5 GiB"
    assert format_size(7) == "7 B"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(
    ["storage", "memory", "cpu", "net", "net.hosts", "p2p", "ui", "run", "hosts"]
) | st.text(max_size=8)


@given(st.dictionaries(keys, values, max_size=4))
def test_any_table_is_either_understood_or_a_user_error(table: dict[str, Any]) -> None:
    try:
        permissions = Permissions.parse(table)
    except UserError:
        return
    assert all(line.isprintable() for line in permissions.describe())
    assert len(permissions.digest()) == 32
