"""An app's shelf on disk: whole blocks only, bounded in bytes and number, nothing outside of its folder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pearrt.app import shelf
from pearrt.app.removal import remove_tree
from pearrt.app.shelf import PAGE_BYTES, ShelfFolder, Usage
from pearrt.crypto.hashes import sha256
from pearrt.errors import LimitExceeded, StoreError

LIMIT = 10 * PAGE_BYTES


@pytest.fixture
def folder(tmp_path: Path) -> ShelfFolder:
    return ShelfFolder(tmp_path / "shelf")


def test_what_is_put_is_there_until_it_is_dropped_also_for_who_comes_later(folder: ShelfFolder) -> None:
    assert folder.usage() == Usage(0, 0)
    block_id = folder.put(b"one", LIMIT)
    assert block_id == sha256(b"one")
    assert folder.put(b"one", LIMIT) == block_id
    later = ShelfFolder(folder.root)
    assert later.get(block_id) == b"one"
    assert later.usage() == folder.usage() == Usage(1, PAGE_BYTES)
    assert folder.drop(block_id)
    assert not folder.drop(block_id)
    assert folder.get(block_id) is None
    assert folder.usage() == Usage(0, 0)
    assert folder.empty


def test_names_come_in_pages_and_in_order(folder: ShelfFolder) -> None:
    assert folder.names(b"", 10) == []
    names = sorted(folder.put(b"%d" % number, 1 << 20) for number in range(50))
    (folder.root / names[0].hex()[:2] / "stray").write_bytes(b"?")
    got: list[bytes] = []
    while page := folder.names(got[-1] if got else b"", 7):
        assert len(page) <= 7
        got += page
    assert got == names


def test_what_is_over_the_limit_is_refused_and_nothing_is_lost(folder: ShelfFolder) -> None:
    kept = [folder.put(b"%d" % number, LIMIT) for number in range(10)]
    with pytest.raises(LimitExceeded, match="full"):
        folder.put(b"one more", LIMIT)
    assert all(folder.get(block_id) for block_id in kept)
    assert folder.put(b"3", LIMIT) == kept[3]
    folder.drop(kept[0])
    with pytest.raises(LimitExceeded):
        folder.put(b"x" * (PAGE_BYTES + 1), LIMIT)
    folder.put(b"x" * PAGE_BYTES, LIMIT)


def test_the_number_of_blocks_is_bounded_too(folder: ShelfFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "MAX_BLOCKS", 3)
    for number in range(3):
        folder.put(b"%d" % number, 1 << 30)
    with pytest.raises(LimitExceeded):
        folder.put(b"more", 1 << 30)


def test_a_damaged_block_is_not_there_and_can_be_put_again(folder: ShelfFolder) -> None:
    block_id = folder.put(b"whole", LIMIT)
    [path] = [path for path in folder.root.rglob(block_id.hex()) if path.is_file()]
    path.write_bytes(b"who")
    assert folder.get(block_id) is None
    path.write_bytes(bytes(1 << 20))
    assert folder.get(block_id) is None
    folder.put(b"whole", LIMIT)
    assert folder.get(block_id) == b"whole"


def test_a_damaged_block_that_is_put_again_counts_once(folder: ShelfFolder) -> None:
    block_id = folder.put(b"whole", LIMIT)
    [path] = [path for path in folder.root.rglob(block_id.hex()) if path.is_file()]
    path.write_bytes(bytes(2 * PAGE_BYTES))
    later = ShelfFolder(folder.root)
    assert later.put(b"whole", LIMIT) == block_id
    assert later.usage() == Usage(1, PAGE_BYTES)


def test_a_write_that_comes_too_late_brings_no_removed_app_back(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    folder = ShelfFolder(app / "shelf")
    folder.put(b"one", LIMIT)
    remove_tree(app)
    with pytest.raises(StoreError):
        folder.put(b"two", LIMIT)
    assert not app.exists()


def test_what_a_kill_left_is_removed_and_not_counted(folder: ShelfFolder) -> None:
    block_id = folder.put(b"whole", LIMIT)
    (folder.root / "tmp" / "7").write_bytes(b"half")
    (folder.root / block_id.hex()[:2] / "stray").write_bytes(b"?")
    later = ShelfFolder(folder.root)
    assert later.usage() == Usage(1, PAGE_BYTES)
    assert [path.name for path in folder.root.rglob("*") if path.is_file()] == [block_id.hex()]


def test_a_link_in_the_place_of_a_block_is_not_followed(folder: ShelfFolder, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    place = folder.root / sha256(b"secret").hex()[:2] / sha256(b"secret").hex()
    place.parent.mkdir(parents=True)
    place.symlink_to(secret)
    with pytest.raises(StoreError):
        folder.get(sha256(b"secret"))
    assert secret.read_bytes() == b"secret"


def test_many_threads_keep_the_count_right(folder: ShelfFolder) -> None:
    def work(number: int) -> None:
        for turn in range(20):
            block_id = folder.put(b"%d" % (turn % 5), 1 << 20)
            folder.get(block_id)
            if (turn + number) % 3 == 0:
                folder.drop(block_id)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert folder.usage() == ShelfFolder(folder.root).usage()
