"""Attacks on path names: each is refused before anything touches a disk."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearrt.bundle.index import Index
from pearrt.bundle.path_rules import MAX_COMPONENT_BYTES, MAX_PATH_BYTES, check_path, check_paths
from pearrt.errors import LimitExceeded, PearrtError, ProtocolViolation
from tests.support.trees import encoded_index


def refused(path: str) -> None:
    with pytest.raises((ProtocolViolation, LimitExceeded)):
        check_path(path)
    with pytest.raises((ProtocolViolation, LimitExceeded)):
        Index.parse(encoded_index([path.encode("utf-8", "surrogatepass")]))


@pytest.mark.parametrize("path", ["..", "../a", "a/../b", "a/..", "a/./b", ".", "./a"])
def test_climbing_out_is_refused(path: str) -> None:
    refused(path)


@pytest.mark.parametrize("path", ["/etc/passwd", "//host/share", "a//b", "a/", "/", ""])
def test_absolute_and_empty_components_are_refused(path: str) -> None:
    refused(path)


@pytest.mark.parametrize("path", ["C:\\x", "C:x", "c:/x", "\\\\host\\share", "a\\b", "..\\a", "\\\\?\\C:\\x"])
def test_windows_drives_unc_and_backslashes_are_refused(path: str) -> None:
    refused(path)


@pytest.mark.parametrize("path", ["file:stream", "a/file::$DATA", "what?", "a*", 'a"b', "a|b", "<a", "b>"])
def test_streams_and_wildcards_are_refused(path: str) -> None:
    refused(path)


@pytest.mark.parametrize(
    "path",
    [
        "CON",
        "con",
        "aux.txt",
        "AUX.tar.gz",
        "nul",
        "prn.",
        "lib/Com1",
        "COM0.x",
        "lpt9.txt",
        "com¹",
        "LPT³.c",
        "CONIN$",
        "conout$.txt",
        "CON .txt",
        "clock$",
    ],
)
def test_device_names_are_refused(path: str) -> None:
    refused(path)


@pytest.mark.parametrize("path", ["a.", "a ", "a/b./c", "a/ /c", "...", "a. ."])
def test_trailing_dots_and_spaces_are_refused(path: str) -> None:
    refused(path)


@pytest.mark.parametrize(
    "character",
    list(
        "\0\n\r\t\x1b\x7f\x85\u202e\u2066\u200b\u200d\ufeff\u2028\u2029\ue000\U000e0001\U0010ffff\ufdd0\u0378"
    ),
)
def test_control_format_private_and_unassigned_characters_are_refused(character: str) -> None:
    refused(f"a{character}b")


@pytest.mark.parametrize("raw", [b"\xff", b"a\xc0\xaf", b"\xed\xa0\x80", b"\xc0\x80"])
def test_what_is_not_utf8_is_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        Index.parse(encoded_index([raw]))


def test_lone_surrogate_is_refused() -> None:
    with pytest.raises(ProtocolViolation):
        check_path("a\ud800b")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("A", "a"),
        ("lib/x", "LIB/y"),
        ("lib/x", "lib/X"),
        (unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")),
        (unicodedata.normalize("NFC", "ở/x"), unicodedata.normalize("NFD", "ở/y")),
        ("straße", "strasse"),
        ("straße", "STRASSE"),
        ("ẞ", "ss"),
        ("İ", "i"),
        ("ı", "I"),
        ("ſ", "s"),
        ("K", "k"),  # Kelvin
        ("Å", "å"),  # Ångström
        ("ς", "Σ"),
        ("ΐ", "\u03b9\u0308\u0301"),
        ("ﬁ", "fi"),
        ("ǆ", "ǅ"),
    ],
)
def test_twins_on_some_file_system_are_refused(first: str, second: str) -> None:
    for path in (first, second):
        check_path(path)
    with pytest.raises(ProtocolViolation):
        check_paths([first, second])
    with pytest.raises(ProtocolViolation):
        Index.parse(encoded_index(sorted([first, second], key=str.encode)))


@pytest.mark.parametrize(
    ("first", "second"), [("a", "a/b"), ("A", "a/b"), ("straße", "STRASSE/x"), ("a/b", "a/b/c/d")]
)
def test_file_and_folder_of_one_name_are_refused(first: str, second: str) -> None:
    for order in ([first, second], [second, first]):
        with pytest.raises(ProtocolViolation):
            check_paths(order)


def test_component_of_256_bytes_is_refused() -> None:
    check_path("a" * MAX_COMPONENT_BYTES)
    refused("a" * (MAX_COMPONENT_BYTES + 1))
    refused("é" * 128)


def test_path_of_4097_bytes_is_refused() -> None:
    fits = "/".join(["a" * 127] * 32)
    assert len(fits) == MAX_PATH_BYTES - 1
    check_path(fits)
    check_path(fits + "a")
    refused(fits + "aa")


def test_deep_nesting_is_refused() -> None:
    check_path("/".join("a" * 32))
    refused("/".join("a" * 33))


def test_folder_bomb_is_refused() -> None:
    """Few bytes of paths that would make very many folders."""
    deep = "/".join("b" * 29)
    with pytest.raises(LimitExceeded):
        check_paths(f"{number}/{deep}/c" for number in range(4000))


def test_message_never_carries_the_raw_name() -> None:
    with pytest.raises(ProtocolViolation) as caught:
        check_path("a\x1b]0;owned\x07\u202etxt")
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()


@given(st.text(max_size=40))
def test_any_text_passes_or_is_refused_and_never_escapes(path: str) -> None:
    try:
        check_path(path)
    except PearrtError:
        return
    assert not path.startswith("/")
    assert ".." not in path.split("/")
    assert "\\" not in path
    assert "\0" not in path


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "a b",
        "lib/python3.11/x.py",
        "ünïcödé/ファイル",
        "consul",
        "aux_.txt",
        "a..b",
        ".hidden",
        "com10",
        "😀",
    ],
)
def test_ordinary_names_pass(path: str) -> None:
    check_path(path)
