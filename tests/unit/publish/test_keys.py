"""One person's keys: made, listed, found by name, path or public key."""

from __future__ import annotations

from pathlib import Path

import pytest

from pearrt.crypto import keyfile
from pearrt.crypto.keyfile import Argon2Cost
from pearrt.errors import UserError
from pearrt.publish.keys import find_key, find_public, list_keys, new_key, read_password

QUICK = Argon2Cost(ops=1, memory_bytes=8192)
PASSWORD = "correct horse"


def test_a_new_key_is_listed_and_found_by_name_path_and_public_key(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    assert list_keys(folder) == {}
    ada = new_key(folder, "ada", PASSWORD, cost=QUICK)
    new_key(folder, "bob", PASSWORD, "Bob", cost=QUICK)
    path = folder / "ada.key"
    assert list(list_keys(folder)) == [path, folder / "bob.key"]
    assert ada.comment == "ada"
    for text in ("ada", "ada.key", str(path), str(ada)):
        assert find_key(folder, text) == path
        assert find_public(folder, text).key == ada.key
    assert find_public(folder, str(path.with_suffix(".pub"))) == ada
    assert folder.stat().st_mode & 0o777 == 0o700
    assert keyfile.unlock(path, PASSWORD)


@pytest.mark.parametrize("name", ["", "../ada", "a/b", ".ada", "a b", "a" * 65, "a\n"])
def test_names_that_are_no_file_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError):
        new_key(tmp_path, name, PASSWORD, cost=QUICK)


def test_an_unknown_key_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        find_key(tmp_path, "eve")
    assert "keys list" in caught.value.hint
    with pytest.raises(UserError):
        find_key(tmp_path, str(keyfile.PublicKey(bytes.fromhex("58" + "66" * 31))))


@pytest.mark.parametrize(
    ("data", "password"), [(b"a b\n", "a b"), (b"a\r\nb\n", "a"), (b"\xc3\xa4", "ä"), (b"", "")]
)
def test_a_password_is_the_first_line_of_its_file(tmp_path: Path, data: bytes, password: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(data)
    assert read_password(path) == password


def test_a_password_file_that_cannot_be_read_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        read_password(tmp_path / "no")
    (tmp_path / "bad").write_bytes(b"\xff")
    with pytest.raises(UserError):
        read_password(tmp_path / "bad")
