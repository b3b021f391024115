"""Key files: only the right password opens the seed, nothing is overwritten, damage is a clear error."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from pearrt.crypto import ed25519, keyfile
from pearrt.crypto.keyfile import Argon2Cost, PublicKey
from pearrt.errors import UserError

QUICK = Argon2Cost(ops=1, memory_bytes=8192)
PASSWORD = "correct horse"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    keyfile.create(tmp_path / "ada.key", PASSWORD, "ada", cost=QUICK)
    return tmp_path / "ada.key"


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_the_seed_that_opens_belongs_to_the_public_key(path: Path) -> None:
    seed = keyfile.unlock(path, PASSWORD)
    assert keyfile.read_public(path) == PublicKey(ed25519.public_key(seed), "ada")


def test_the_pub_file_is_one_line_that_parses_to_the_same_key(path: Path) -> None:
    text = path.with_name("ada.pub").read_text()
    assert text.startswith("pearrt-key:")
    assert text.count("\n") == 1
    assert (
        keyfile.read_public(path.with_name("ada.pub")) == PublicKey.parse(text) == keyfile.read_public(path)
    )


def test_the_key_file_is_private_and_holds_no_seed_in_the_clear(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    data, seed = path.read_bytes(), keyfile.unlock(path, PASSWORD)
    assert seed not in data
    assert seed.hex().encode() not in data


def test_it_is_private_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keyfile.create(tmp_path / "k", PASSWORD, cost=QUICK)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600


def test_a_wrong_password_says_so(path: Path) -> None:
    with pytest.raises(UserError, match="password does not open"):
        keyfile.unlock(path, PASSWORD + "x")


def test_a_password_is_its_letters_however_they_were_composed(tmp_path: Path) -> None:
    keyfile.create(tmp_path / "k", "gr\u00fc\u00dfe an alle", cost=QUICK)
    assert keyfile.unlock(tmp_path / "k", "gru\u0308\u00dfe an alle")


def test_an_existing_key_is_never_overwritten(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(UserError, match="exists already"):
        keyfile.create(path, PASSWORD, cost=QUICK)
    assert path.read_bytes() == before
    assert sorted(found.name for found in path.parent.iterdir()) == ["ada.key", "ada.pub"]


def test_two_keys_with_one_password_share_nothing(tmp_path: Path) -> None:
    keyfile.create(tmp_path / "a", PASSWORD, cost=QUICK)
    keyfile.create(tmp_path / "b", PASSWORD, cost=QUICK)
    a, b = (json.loads((tmp_path / name).read_text()) for name in "ab")
    assert a["kdf"]["salt"] != b["kdf"]["salt"]
    assert a["sealed"] != b["sealed"]


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "other"},
        {"public": 7},
        {"public": "pearrt-key:yyyy"},
        {"kdf": None},
        {"kdf": {}},
        {"sealed": "zz"},
        {"sealed": 7},
        {"kdf": {"name": "argon2id", "ops": 10**9, "memory_bytes": 8192, "salt": "00" * 16}},
        {"kdf": {"name": "argon2id", "ops": 1, "memory_bytes": 1 << 40, "salt": "00" * 16}},
        {"kdf": {"name": "argon2id", "ops": 0, "memory_bytes": 8192, "salt": "00" * 16}},
        {"kdf": {"name": "argon2id", "ops": 1, "memory_bytes": 8192, "salt": "00"}},
        {"kdf": {"name": "scrypt", "ops": 1, "memory_bytes": 8192, "salt": "00" * 16}},
        {"sealed": "00"},
    ],
)
def test_a_damaged_file_is_refused_before_it_costs_anything(path: Path, fields: dict[str, Any]) -> None:
    change(path, **fields)
    with pytest.raises(UserError):
        keyfile.unlock(path, PASSWORD)


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 4000, b"x" * 5000])
def test_a_file_of_another_kind_is_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(UserError):
        keyfile.unlock(path, PASSWORD)
    with pytest.raises(UserError):
        keyfile.read_public(path)


def test_a_file_whose_public_key_was_swapped_is_refused(path: Path, tmp_path: Path) -> None:
    other = keyfile.create(tmp_path / "bob.key", PASSWORD, "bob", cost=QUICK)
    change(path, public=str(other))
    with pytest.raises(UserError, match="damaged"):
        keyfile.unlock(path, PASSWORD)


@pytest.mark.parametrize(
    ("password", "comment"), [("short", ""), (PASSWORD, "x" * 65), (PASSWORD, "\x1b[2J"), (PASSWORD, "a\nb")]
)
def test_short_passwords_and_unshowable_comments_are_refused(
    tmp_path: Path, password: str, comment: str
) -> None:
    with pytest.raises(UserError):
        keyfile.create(tmp_path / "k", password, comment, cost=QUICK)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_or_file_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        keyfile.create(tmp_path / "no" / "k", PASSWORD, cost=QUICK)
    with pytest.raises(UserError):
        keyfile.read_public(tmp_path / "no")


PUBLIC = str(PublicKey(ed25519.public_key(bytes(32))))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh-ed25519 AAAA",
        PUBLIC[:-1],
        PUBLIC + "y",
        PUBLIC[:-1] + "l",
        "pearrt-key:" + "y" * 52,
        PUBLIC + " " + "x" * 65,
        PUBLIC + " a\x07",
    ],
)
def test_a_misspelt_public_key_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        PublicKey.parse(text)


def test_a_public_key_keeps_its_comment() -> None:
    assert PublicKey.parse(f"  {PUBLIC} Ada Lovelace\n").comment == "Ada Lovelace"
    assert PublicKey.parse(PUBLIC).comment == ""
