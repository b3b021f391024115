"""The library shows the old state or the new, and forgets completely."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from pearrt.app import removal
from pearrt.app.library import AppFolder, Library
from pearrt.app.record import Grant, Installed, Wish
from pearrt.app.removal import remove_tree
from pearrt.errors import Corrupt, NoSuchApp, StoreError
from pearrt.trust.contradiction import Contradiction

KEY = bytes(range(32))


def release(version: str, digest: str) -> Installed:
    return Installed(version, 1, digest, ["00" * 32], "app", 1_700_000_000)


@pytest.fixture
def folder(tmp_path: Path) -> AppFolder:
    folder = AppFolder(tmp_path, KEY)
    folder.create()
    return folder


def test_what_was_never_written_is_none(folder: AppFolder) -> None:
    assert (folder.installed, folder.previous, folder.grant, folder.wish, folder.trust) == (None,) * 5


def test_the_first_proof_of_an_equivocation_is_kept_and_forgotten_with_the_app(folder: AppFolder) -> None:
    assert folder.equivocation is None
    assert folder.keep_equivocation(Contradiction(b"one", b"other", b"why"))
    assert not folder.keep_equivocation(Contradiction(b"more", b"noise"))
    assert folder.equivocation == Contradiction(b"one", b"other", b"why")
    (folder.root / "equivocation.benc").write_bytes(b"l3:one5:othere")  # as it was written before
    assert folder.equivocation == Contradiction(b"one", b"other")
    for damage in (b"", b"le", b"i1e", b"l1:ae", b"{}"):
        (folder.root / "equivocation.benc").write_bytes(damage)
        with pytest.raises(Corrupt):
            _ = folder.equivocation
    folder.remove(keep_data=True)
    assert folder.equivocation is None


def test_a_switch_keeps_the_release_before_it(folder: AppFolder) -> None:
    folder.switch(release("1", "aa"))
    folder.switch(release("2", "bb"))
    assert folder.installed == release("2", "bb")
    assert folder.previous == release("1", "aa")


def test_switching_to_the_same_tree_keeps_the_previous_one(folder: AppFolder) -> None:
    folder.switch(release("1", "aa"))
    folder.switch(release("2", "bb"))
    folder.switch(release("2.0.1", "bb"))
    assert folder.previous == release("1", "aa")


def test_records_come_back_as_they_were(folder: AppFolder) -> None:
    folder.grant = Grant({"memory": "1 GiB"}, 5)
    folder.wish = Wish("pearrt://x", seed=True)
    assert folder.grant == Grant({"memory": "1 GiB"}, 5)
    assert folder.wish == Wish("pearrt://x", seed=True)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"version": "1"}', b'{"surprise": 1}'])
def test_a_damaged_record_is_corrupt_and_not_half_read(folder: AppFolder, damage: bytes) -> None:
    (folder.root / "installed.json").write_bytes(damage)
    with pytest.raises(Corrupt):
        _ = folder.installed


def test_prune_removes_other_trees_and_leftovers(folder: AppFolder) -> None:
    for name in ("aa", "bb", ".bb.12.tmp"):
        (folder.releases / name / "deep").mkdir(parents=True)
    folder.prune({"aa"})
    assert os.listdir(folder.releases) == ["aa"]


def test_uninstall_keeps_private_data_only_when_asked(folder: AppFolder) -> None:
    (folder.data / "notes").write_text("mine")
    folder.trust = b"x"
    folder.switch(release("1", "aa"))
    folder.remove(keep_data=True)
    assert folder.installed is None
    assert not folder.known
    assert (folder.data / "notes").read_text() == "mine"
    folder.remove(keep_data=False)
    assert not folder.root.exists()


def test_a_link_planted_in_private_data_is_not_followed_by_removal(tmp_path: Path, folder: AppFolder) -> None:
    precious = tmp_path / "precious"
    precious.mkdir(mode=0o500)
    (folder.data / "door").symlink_to(precious)
    remove_tree(folder.data)
    assert precious.exists()
    assert precious.stat().st_mode & 0o777 == 0o500


def test_folders_that_an_app_closed_are_removed_all_the_same(folder: AppFolder) -> None:
    inner = folder.data / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    inner.chmod(0)
    remove_tree(folder.data)
    assert not folder.data.exists()


def test_the_library_lists_known_apps_and_ignores_strangers(tmp_path: Path, folder: AppFolder) -> None:
    (tmp_path / "not-a-key").mkdir()
    library = Library(tmp_path)
    assert list(library) == []
    with pytest.raises(NoSuchApp):
        library.known(KEY)
    folder.trust = b"x"
    assert [each.app_key for each in library] == [KEY]


def test_an_app_that_fills_its_folder_as_fast_as_it_is_emptied_is_not_waited_for(
    folder: AppFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.data / "0").touch()
    unlink, made = os.unlink, itertools.count(1)

    def unlink_and_more(name: str, *, dir_fd: int | None = None) -> None:
        unlink(name, dir_fd=dir_fd)
        if name.isdigit():
            number = next(made)
            assert number < 1000, "it goes on for ever"
            os.close(os.open(str(number), os.O_CREAT | os.O_WRONLY, dir_fd=dir_fd))

    monkeypatch.setattr(removal, "PASSES", 5)
    monkeypatch.setattr(removal.os, "unlink", unlink_and_more)
    with pytest.raises(StoreError, match="not empty"):
        folder.remove(keep_data=False)
