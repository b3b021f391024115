"""After a power cut what runs is a whole release, whatever the disk had got."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pearrt.app import durable
from pearrt.app.durable import make_durable, recover
from pearrt.app.library import AppFolder
from pearrt.app.record import Installed
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.bundle.stage import stage_tree
from pearrt.bundle.unpack import unpack
from pearrt.store.service import Store

KEY = bytes(range(32))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store").open()


@pytest.fixture
def folder(tmp_path: Path) -> AppFolder:
    folder = AppFolder(tmp_path / "apps", KEY)
    folder.create()
    return folder


def install(folder: AppFolder, store: Store, work: Path, version: str, boot: str) -> Installed:
    source = work / f"source-{version}"
    source.mkdir()
    (source / "main.py").write_text(f"print({version!r})\n")
    manifest = Manifest(name="app", version=version, entry=Entry.parse("main:main"))
    staged = stage_tree(source, manifest, store.put)
    digest = staged.digest.hex()
    unpack(staged.index, store.get, folder.tree(digest), sync=False)
    made = Installed(version, 1, digest, [i.hex() for i in staged.index_blocks], "app", 0, boot)
    folder.switch(made)
    return made


def test_a_release_is_not_durable_until_it_is_made_so(
    folder: AppFolder, store: Store, tmp_path: Path
) -> None:
    made = install(folder, store, tmp_path, "1", durable.boot_id())
    make_durable(folder, store, made)
    assert folder.installed == replace(made, boot="")
    store.close()


def test_making_an_older_release_durable_does_not_bring_it_back(
    folder: AppFolder, store: Store, tmp_path: Path
) -> None:
    older = install(folder, store, tmp_path, "1", "b")
    newer = install(folder, store, tmp_path, "2", "b")
    make_durable(folder, store, older)
    assert folder.installed == newer
    store.close()


def test_a_restart_without_a_power_cut_checks_nothing(
    folder: AppFolder, store: Store, tmp_path: Path
) -> None:
    made = install(folder, store, tmp_path, "1", durable.boot_id())
    (folder.tree(made.index_digest) / "main.py").write_text("changed")
    recover(folder, store)
    assert folder.installed == made
    store.close()


def test_a_whole_tree_after_a_power_cut_runs_on(folder: AppFolder, store: Store, tmp_path: Path) -> None:
    made = install(folder, store, tmp_path, "1", "another boot")
    recover(folder, store)
    assert folder.installed == replace(made, boot="")
    store.close()


@pytest.mark.parametrize("damage", ["truncated", "missing", "no tree", "no index"])
def test_a_torn_tree_after_a_power_cut_gives_way_to_the_release_before_it(
    folder: AppFolder, store: Store, tmp_path: Path, damage: str
) -> None:
    before = install(folder, store, tmp_path, "1", "")
    torn = install(folder, store, tmp_path, "2", "another boot")
    tree = folder.tree(torn.index_digest)
    if damage == "truncated":
        (tree / "main.py").write_text("")
    elif damage == "missing":
        (tree / "main.py").unlink()
    elif damage == "no tree":
        tree.rename(tmp_path / "gone")
    else:
        for path in (tmp_path / "store" / "blocks").rglob(torn.index_blocks[0]):
            path.unlink()
    recover(folder, store)
    assert folder.installed == before
    assert not tree.exists()
    store.close()


def test_a_first_release_that_is_torn_is_simply_not_installed(
    folder: AppFolder, store: Store, tmp_path: Path
) -> None:
    torn = install(folder, store, tmp_path, "1", "another boot")
    (folder.tree(torn.index_digest) / "main.py").unlink()
    recover(folder, store)
    assert folder.installed is None
    store.close()


def test_a_tree_that_no_record_names_is_not_trusted_at_the_next_start(
    folder: AppFolder, store: Store, tmp_path: Path
) -> None:
    made = install(folder, store, tmp_path, "1", "")
    stray = folder.tree("ff" * 32)
    stray.mkdir()
    recover(folder, store)
    assert not stray.exists()
    assert folder.tree(made.index_digest).exists()
    store.close()
