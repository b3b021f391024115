"""Links: what is written is what is read, a typo is an error at once, the topic gives nothing away."""

from __future__ import annotations

import contextlib
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pearrt.codec import zbase32
from pearrt.errors import BadLink
from pearrt.link import (
    KEY_LETTERS,
    MAX_HINTS,
    MAX_LINK_CHARS,
    HostPort,
    Link,
    decode_key,
    dht_topic,
    encode_key,
    topic_of,
)

KEY = bytes(range(32))
KEY_TEXT = encode_key(KEY)

keys = st.binary(min_size=32, max_size=32)
hosts = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True) | st.ip_addresses().map(str)
host_ports = st.builds(HostPort, hosts, st.integers(1, 65535))
printable = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=40)
mirrors = st.from_regex(r"https?://[a-z0-9.]{1,20}(:[0-9]{1,4})?(/[a-z0-9]{1,9}){0,2}", fullmatch=True)
channels = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,31}", fullmatch=True)
links = st.builds(
    Link,
    app_key=keys,
    path=printable.map(lambda text: text.lstrip("/")),
    nodes=st.lists(host_ports, max_size=MAX_HINTS).map(tuple),
    mirrors=st.lists(mirrors, max_size=MAX_HINTS).map(tuple),
    channel=channels,
    fragment=printable,
)


@given(links)
@example(Link(KEY, path="a b/ü?x#y%41", fragment="?node=1.2.3.4:5"))
def test_what_is_written_is_what_is_read(link: Link) -> None:
    text = str(link)
    if len(text) <= MAX_LINK_CHARS:
        assert Link.parse(text) == link


def test_a_link_says_if_it_asks_for_a_channel_even_for_the_usual_one() -> None:
    for text, channel, named in (
        ("", "stable", False),
        ("?channel=stable", "stable", True),
        ("?channel=beta", "beta", True),
    ):
        link = Link.parse(f"pearrt://{KEY_TEXT}{text}")
        assert (link.channel, link.names_channel) == (channel, named)
        assert Link.parse(str(link)).names_channel is named


@given(keys)
def test_a_bare_key_is_a_link(key: bytes) -> None:
    assert Link.parse(encode_key(key)) == Link(key)
    assert Link.parse(f"  pearrt://{encode_key(key)}\n") == Link(key)
    assert Link(key).key_text == encode_key(key)
    assert len(encode_key(key)) == KEY_LETTERS


def test_a_known_key_is_spelt_as_ever() -> None:
    """Links on paper must stay valid: this vector never changes."""
    assert KEY_TEXT == "yyyoryarywdyqnyjbefoadeqbhebnrounoktcfaadrpbs8y7daxtmhe"
    assert decode_key(KEY_TEXT) == KEY


def test_no_single_letter_typo_passes() -> None:
    """The 16-bit checksum catches all but one in 65,536 typos; of this key's 1,650 single ones, all."""
    passed = []
    for position in range(KEY_LETTERS):
        for letter in zbase32.ALPHABET:
            typo = KEY_TEXT[:position] + letter + KEY_TEXT[position + 1 :]
            if typo != KEY_TEXT:
                with contextlib.suppress(BadLink):
                    passed.append(decode_key(typo))
    assert len(passed) <= 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 characters instead of 55"),
        ("pearrt://", "0 characters instead of 55"),
        (KEY_TEXT[:-1], "54 characters"),
        (KEY_TEXT + "y", "56 characters"),
        (KEY_TEXT[:-1] + "l", "misspelt"),
        (KEY_TEXT[:-1] + "é", "misspelt"),
        ("https://example.com/", "not a pearrt link"),
        (f"pearrt://user@{KEY_TEXT}", "instead of 55"),
        (f"pearrt://{KEY_TEXT}:80", "instead of 55"),
        (f"pearrt://{KEY_TEXT}/a\x1b[31m", "control characters"),
        (f"pearrt://{KEY_TEXT}/a\0", "control characters"),
        (f"pearrt://{KEY_TEXT}/\u202egnp", "control characters"),
        (f"pearrt://{KEY_TEXT}?node=host", "not host:port"),
        (f"pearrt://{KEY_TEXT}?node=host:0", "not host:port"),
        (f"pearrt://{KEY_TEXT}?node=host:65536", "not host:port"),
        (f"pearrt://{KEY_TEXT}?node=[zz]:1", "not host:port"),
        (f"pearrt://{KEY_TEXT}?mirror=ftp://x", "no http or https"),
        (f"pearrt://{KEY_TEXT}?channel=../up", "not the name of a channel"),
        (f"pearrt://{KEY_TEXT}?" + "&".join(["node=h:1"] * (MAX_HINTS + 1)), "too many hints"),
        (f"pearrt://{KEY_TEXT}?" + "&".join(["x=1"] * 100), "too many hints"),
        (f"pearrt://{KEY_TEXT}/" + "a" * MAX_LINK_CHARS, "at most 2048"),
        (f"pearrt://[{KEY_TEXT}", "Not a link"),
    ],
)
def test_a_wrong_link_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(BadLink, match=message):
        Link.parse(text)


@given(st.text() | st.text(string.printable).map(lambda text: f"pearrt://{KEY_TEXT}{text}"))
def test_any_text_is_a_link_or_a_bad_link(text: str) -> None:
    with contextlib.suppress(BadLink):
        assert len(Link.parse(text).app_key) == 32


def test_unknown_hints_are_left_for_later_versions() -> None:
    assert Link.parse(f"pearrt://{KEY_TEXT}?relay=x&node=h:1") == Link(KEY, nodes=(HostPort("h", 1),))


def test_a_scheme_in_capitals_is_the_same_scheme() -> None:
    assert Link.parse(f"PEARRT://{KEY_TEXT}") == Link(KEY)


@given(host_ports)
def test_host_and_port_are_read_as_written(place: HostPort) -> None:
    assert HostPort.parse(str(place)) == place


@given(keys, keys, st.binary(min_size=1, max_size=32))
def test_the_topic_depends_on_the_key_and_the_psk_and_shows_neither(
    key: bytes, other: bytes, psk: bytes
) -> None:
    topic = topic_of(key)
    assert len(topic) == 32
    assert (topic == topic_of(other)) == (key == other)
    assert topic_of(key, psk) != topic
    assert key not in topic
    assert dht_topic(topic) == topic[:20]
