"""The store: what is put is got, verified; pins keep, gc removes, fsck finds damage."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pearrt.crypto.hashes import sha256
from pearrt.errors import Corrupt, DigestMismatch, Full, Locked, NoSuchBlock, StoreError
from pearrt.store import service
from pearrt.store.reports import FsckReport, GcReport, StoreUsage
from pearrt.store.service import MAX_BLOCK_BYTES, Store
from tests.support.require import require
from tests.support.trees import noise


def fill(store: Store, count: int, size: int = 1000) -> list[bytes]:
    ids = []
    for number in range(count):
        data = noise(number, size)
        store.put(sha256(data), data)
        ids.append(sha256(data))
    return ids


def file_of(root: Path, block_id: bytes) -> Path:
    name = block_id.hex()
    return root / "blocks" / name[:2] / name


def test_put_is_got_back_in_this_process_and_the_next(tmp_path: Path) -> None:
    data = noise(1, MAX_BLOCK_BYTES)
    with Store(tmp_path) as store:
        assert not store.has(sha256(data))
        store.put(sha256(data), memoryview(data))
        store.put(sha256(data), data)
        assert store.has(sha256(data))
        assert store.get(sha256(data)) == data
    with Store(tmp_path) as store:
        assert store.has(sha256(data))
        assert store.get(sha256(data)) == data
        assert store.usage() == StoreUsage(1, len(data), 0, 0)


def test_wrong_bytes_are_never_visible(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        with pytest.raises(DigestMismatch):
            store.put(sha256(b"a"), b"b")
        assert not store.has(sha256(b"a"))
        with pytest.raises(NoSuchBlock):
            store.get(sha256(b"a"))
        assert [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock"] == []


def test_block_over_the_limit_is_refused(tmp_path: Path) -> None:
    data = bytes(MAX_BLOCK_BYTES + 1)
    with Store(tmp_path) as store, pytest.raises(StoreError):
        store.put(sha256(data), data)


def test_store_is_checkable_with_sha256sum(tmp_path: Path) -> None:
    require("sha256sum")
    with Store(tmp_path) as store:
        fill(store, 20)
    files = [path for path in (tmp_path / "blocks").rglob("*") if path.is_file()]
    printed = subprocess.run(["sha256sum", *files], check=True, capture_output=True, text=True).stdout
    assert len(files) == 20
    for line in printed.splitlines():
        digest, path = line.split()
        assert digest == Path(path).name


def test_second_writer_is_told_who_holds_the_store(tmp_path: Path) -> None:
    with Store(tmp_path), pytest.raises(Locked, match=str(os.getpid())):
        Store(tmp_path).open()
    with Store(tmp_path):
        pass


def test_reader_beside_a_writer_sees_new_blocks_and_writes_nothing(tmp_path: Path) -> None:
    with Store(tmp_path) as store, Store(tmp_path, read_only=True) as reader:
        (block_id,) = fill(store, 1)
        assert reader.has(block_id)
        assert reader.get(block_id) == noise(0, 1000)
        for write in (
            reader.gc,
            reader.fsck,
            reader.sync,
            lambda: reader.put(block_id, b""),
            lambda: reader.unpin("a"),
        ):
            with pytest.raises(StoreError):
                write()
        file_of(tmp_path, block_id).write_bytes(b"damaged")
        with Store(tmp_path, read_only=True) as another, pytest.raises(Corrupt):
            another.get(block_id)
        assert file_of(tmp_path, block_id).exists()


def test_reader_of_an_absent_store_finds_nothing(tmp_path: Path) -> None:
    with Store(tmp_path / "none", read_only=True) as reader:
        assert not reader.has(sha256(b"a"))
        assert reader.pins() == []
    assert not (tmp_path / "none").exists()


def test_damaged_block_is_dropped_on_first_read(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        first, second = fill(store, 2)
    file_of(tmp_path, first).write_bytes(noise(7, 1000))
    file_of(tmp_path, second).write_bytes(b"")
    with Store(tmp_path) as store:
        for block_id in (first, second):
            with pytest.raises(Corrupt):
                store.get(block_id)
            assert not store.has(block_id)
            assert not file_of(tmp_path, block_id).exists()
        store.put(first, noise(0, 1000))
        assert store.get(first) == noise(0, 1000)


def test_block_swapped_after_it_was_verified_is_noticed(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        first, second = fill(store, 2)
        assert store.get(first) == noise(0, 1000)
        (tmp_path / "other").write_bytes(noise(7, 1000))
        (tmp_path / "other").replace(file_of(tmp_path, first))
        with pytest.raises(Corrupt):
            store.get(first)
        with file_of(tmp_path, second).open("r+b") as file:
            file.write(b"X")
        with pytest.raises(Corrupt):
            store.get(second)
        assert not store.has(first)
        assert not store.has(second)


def test_vanished_block_is_forgotten(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        (block_id,) = fill(store, 1)
        file_of(tmp_path, block_id).unlink()
        with pytest.raises(NoSuchBlock):
            store.get(block_id)
        assert not store.has(block_id)


def test_link_in_place_of_a_block_is_not_followed(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        (block_id,) = fill(store, 1)
        path = file_of(tmp_path, block_id)
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(StoreError):
            store.get(block_id)
        assert store.fsck().foreign == (str(path.relative_to(tmp_path)),)
        assert (tmp_path / "elsewhere").exists()


def test_gc_keeps_what_any_pin_names(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        ids = fill(store, 6)
        store.pin("a", ids[:3])
        store.pin("b", ids[2:5])
        assert store.gc(dry_run=True) == GcReport(1, 1000)
        assert store.has(ids[5])
        assert store.gc() == GcReport(1, 1000)
        store.unpin("a")
        store.unpin("never")
        assert store.gc().removed == 2
        assert [store.has(block_id) for block_id in ids] == [False, False, True, True, True, False]
        store.pin("b", ids[4:5])
        assert store.gc().removed == 2
        assert store.usage() == StoreUsage(1, 1000, 1, 1000)
        assert store.gc() == GcReport(0, 0)


def test_pins_survive_the_process_and_may_come_before_the_blocks(tmp_path: Path) -> None:
    data = noise(0, 1000)
    with Store(tmp_path) as store:
        store.pin("app-1.0_x", [sha256(data)])
        store.pin("empty", [])
    with Store(tmp_path) as store:
        assert store.pins() == ["app-1.0_x", "empty"]
        store.put(sha256(data), data)
        assert store.gc().removed == 0
        store.unpin("app-1.0_x")
    with Store(tmp_path) as store:
        assert store.pins() == ["empty"]
        assert store.gc().removed == 1


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "../x", "a\0", "x" * 129, "ü"])
def test_pin_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with Store(tmp_path) as store, pytest.raises(StoreError):
        store.pin(name, [])


def test_damaged_pin_is_said_and_nothing_is_collected(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.pin("a", fill(store, 1))
    (tmp_path / "pins" / "a").write_bytes(b"nonsense")
    with pytest.raises(Corrupt, match="pins"):
        Store(tmp_path).open()
    (tmp_path / "pins" / "a").unlink()
    with Store(tmp_path) as store:
        assert store.gc().removed == 1


def test_fsck_drops_damaged_and_foreign_files(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        ids = fill(store, 10)
        assert store.fsck() == FsckReport(10, (), ())
        file_of(tmp_path, ids[3]).write_bytes(noise(3, 999))
        file_of(tmp_path, ids[4]).write_bytes(noise(3, MAX_BLOCK_BYTES + 10))
        for prefix in ("00", "ff"):
            (tmp_path / "blocks" / prefix).mkdir(exist_ok=True)
        (tmp_path / "blocks" / "00" / "notes.txt").write_bytes(b"x")
        (tmp_path / "blocks" / "ff" / file_of(tmp_path, ids[0]).name).write_bytes(b"x")
        (tmp_path / "blocks" / "00" / "folder" / "deep").mkdir(parents=True)
        (tmp_path / "blocks" / "other").mkdir()
        report = store.fsck()
        assert set(report.damaged) == {ids[3], ids[4]}
        assert report.checked == 10
        assert len(report.foreign) == 4
        assert store.fsck() == FsckReport(8, (), ())
        assert not store.has(ids[3])


def test_leftovers_of_a_killed_writer_are_swept(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.pin("a", [])
    (tmp_path / "tmp" / "0").write_bytes(b"half a block")
    (tmp_path / "pins" / ".a.123456.tmp").write_bytes(b"half a pin")
    with Store(tmp_path) as store:
        assert list((tmp_path / "tmp").iterdir()) == []
        assert store.pins() == ["a"]
        assert [path.name for path in (tmp_path / "pins").iterdir()] == ["a"]
        fill(store, 1)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_said_and_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with Store(tmp_path) as store:
        fill(store, 1)
        real = os.write

        def write(fd: int, data: bytes) -> int:
            real(fd, bytes(data)[:10])
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write)
            with pytest.raises(Full):
                store.put(sha256(b"new"), b"new")
        assert not store.has(sha256(b"new"))
        assert list((tmp_path / "tmp").iterdir()) == []
        store.put(sha256(b"new"), b"new")


def test_short_write_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    with Store(tmp_path) as store:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:1]))
            with pytest.raises(Full):
                store.put(sha256(b"new"), b"new")
        assert not store.has(sha256(b"new"))


def test_really_full_disk(tmp_path: Path) -> None:
    """On a file system of one MiB, where the test may mount one."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("not applicable: may not mount")
    try:
        with Store(tmp_path) as store:
            with pytest.raises(Full):
                fill(store, 10, 200_000)
            report = store.fsck()
            assert (report.damaged, report.foreign) == ((), ())
            assert store.gc().removed == store.gc(dry_run=True).removed + 5
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_many_threads_put_the_same_and_different_blocks(tmp_path: Path) -> None:
    pieces = [noise(number % 50, 5000) for number in range(400)]
    with Store(tmp_path) as store:
        with ThreadPoolExecutor(8) as executor:
            list(executor.map(lambda data: store.put(sha256(data), data), pieces))
            assert all(executor.map(lambda data: store.get(sha256(data)) == data, pieces))
        assert store.usage().blocks == 50
        report = store.fsck()
        assert (report.damaged, report.foreign) == ((), ())
        assert list((tmp_path / "tmp").iterdir()) == []


def test_gc_beside_writers_never_takes_what_is_pinned(tmp_path: Path) -> None:
    pieces = {sha256(data): data for data in (noise(number, 500) for number in range(300))}
    with Store(tmp_path) as store:
        store.pin("app", pieces)
        stop = threading.Event()

        def collect() -> None:
            while not stop.is_set():
                store.gc()

        collector = threading.Thread(target=collect)
        collector.start()
        try:
            for block_id, data in pieces.items():
                store.put(block_id, data)
                store.put(sha256(b"loose" + block_id), b"loose" + block_id)
        finally:
            stop.set()
            collector.join()
        assert all(store.get(block_id) == data for block_id, data in pieces.items())


def test_sync_without_syncfs_reaches_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    with Store(tmp_path) as store:
        fill(store, 3)
        monkeypatch.setattr(service, "sync_filesystem", lambda folder: False)
        monkeypatch.setattr(os, "fsync", synced.append)
        store.sync()
        assert len(synced) >= 4
        synced.clear()
        store.sync()
        assert synced == []


def test_failed_sync_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Store(tmp_path) as store:
        fill(store, 1)
        with monkeypatch.context() as patch:
            patch.setattr(service, "sync_filesystem", broken)
            for _ in range(2):
                with pytest.raises(StoreError):
                    store.sync()
        store.sync()


def test_use_after_close_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        pass
    with pytest.raises(StoreError):
        store.put(sha256(b"a"), b"a")


def test_store_of_many_blocks_opens_by_their_names_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(64):
        folder = tmp_path / "blocks" / f"{number:02x}"
        folder.mkdir(parents=True)
        for serial in range(100):
            os.close(os.open(folder / f"{number:02x}{serial:062x}", os.O_CREAT | os.O_WRONLY))
    touched: list[str] = []

    def watched(really: Any, path: Any, *rest: Any, **named: Any) -> Any:
        touched.append(str(path))
        return really(path, *rest, **named)

    for call in ("open", "stat", "lstat"):
        monkeypatch.setattr(os, call, partial(watched, getattr(os, call)))
    with Store(tmp_path) as store:
        assert store.has(bytes(32))
        assert not any(len(Path(path).name) == 64 for path in touched), "a block was looked at"
        assert touched, "the watch sees nothing"
        assert store.usage().blocks == 64 * 100


def test_files_are_private(tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        (block_id,) = fill(store, 1)
        store.pin("a", [block_id])
    for path in (tmp_path / "store").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
