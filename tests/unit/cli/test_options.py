"""What `pearrt run` takes for a link, a file or a folder."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from pearrt.cli.options import LinkOrFileType, LinkType
from pearrt.link import Link, encode_key

KEY = bytes(range(32))


def read(text: str) -> object:
    return LinkOrFileType().convert(text, None, None)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine" / "app").mkdir(parents=True)
    (tmp_path / encode_key(KEY)).mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("text", [".", "./mine", "mine", "mine/app", "../"])
def test_a_folder_is_named_as_anywhere(text: str) -> None:
    assert read(text) == Path(text)


def test_a_link_is_a_link_whatever_lies_around() -> None:
    for text in (f"pearrt://{encode_key(KEY)}", encode_key(KEY), f"{encode_key(KEY)}/mine"):
        assert isinstance(read(text), Link)
    assert read(f"./{encode_key(KEY)}") == Path(encode_key(KEY))


def test_a_file_need_not_be_there_yet_to_be_one() -> None:
    assert read("some.pear") == Path("some.pear")


@pytest.mark.parametrize("text", ["./nothing", "/nothing/at/all"])
def test_a_folder_that_is_not_there_is_no_broken_link(text: str) -> None:
    with pytest.raises(click.BadParameter, match="no folder"):
        read(text)


@pytest.mark.parametrize("text", [encode_key(KEY)[:-1], "pearrt://nothing"])
def test_anything_else_is_a_link_with_a_mistake_in_it(text: str) -> None:
    with pytest.raises(click.BadParameter, match="key"):
        read(text)


def test_a_name_is_told_from_a_link_that_lost_a_letter() -> None:
    with pytest.raises(click.BadParameter, match="no folder 'nothing', and a link starts with pearrt://"):
        read("nothing")
    with pytest.raises(click.BadParameter, match="'hello' is no link"):
        LinkType().convert("hello", None, None)


def test_nothing_is_not_the_folder_that_one_is_in() -> None:
    """`pearrt run "$LINK"` of a script whose variable is empty."""
    with pytest.raises(click.BadParameter, match="no folder ''"):
        read("")
