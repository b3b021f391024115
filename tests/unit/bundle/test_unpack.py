"""Unpacking: the tree that was staged comes back, whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pearrt.bundle import folders
from pearrt.bundle.unpack import unpack
from pearrt.bundle.verify import Change, verify_tree
from pearrt.errors import Full, StoreError
from tests.support.trees import bundle, noise, text, write_tree

FILES = {
    "empty": b"",
    "lib/also_empty": b"",
    "lib/small.py": text(1, 3000),
    "lib/twin.py": text(1, 3000),
    "lib/big.so": noise(2, 9_000_000),
    "share/big_twin.so": noise(2, 9_000_000),
    "share/text": text(3, 1_500_000),
    "z/deep/er/still/x": b"x",
    "run": b"#!/bin/sh\n",
}


@pytest.mark.parametrize("codec", ["zstd", "xz", "zlib", "raw"])
def test_tree_comes_back(tmp_path: Path, codec: str) -> None:
    files = FILES if codec in ("zstd", "raw") else FILES | {"lib/big.so": b"b", "share/big_twin.so": b"b"}
    made = bundle(write_tree(tmp_path / "in", files, executable=("run",)), codec=codec, level=1)
    unpack(made.index, made.get, tmp_path / "out")
    found = {
        str(p.relative_to(tmp_path / "out")): p.read_bytes()
        for p in (tmp_path / "out").rglob("*")
        if p.is_file()
    }
    assert found == files
    assert verify_tree(made.index, tmp_path / "out") == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    made = bundle(write_tree(tmp_path / "in", FILES, executable=("run",)))
    before = os.umask(0o077)
    try:
        unpack(made.index, made.get, tmp_path / "out", sync=False)
    finally:
        os.umask(before)
    for path in (tmp_path / "out", *(tmp_path / "out").rglob("*")):
        wanted = 0o755 if path.is_dir() or path.name == "run" else 0o644
        assert stat.S_IMODE(path.stat().st_mode) == wanted


def test_existing_destination_is_left_alone(tmp_path: Path) -> None:
    made = bundle(write_tree(tmp_path / "in", {"a": b"a"}))
    (tmp_path / "out").mkdir()
    with pytest.raises(StoreError):
        unpack(made.index, made.get, tmp_path / "out")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError):
        unpack(made.index, made.get, tmp_path / "link")
    assert list((tmp_path / "out").iterdir()) == []


def test_failing_source_leaves_nothing(tmp_path: Path) -> None:
    made = bundle(write_tree(tmp_path / "in", FILES))
    asked = []

    def get(block_id: bytes) -> bytes:
        asked.append(block_id)
        if len(asked) == 20:
            raise KeyError("gone")
        return made.get(block_id)

    with pytest.raises(KeyError):
        unpack(made.index, get, tmp_path / "out", sync=False)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_disk_full_in_mid_write_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bundle(write_tree(tmp_path / "in", FILES))

    def no_room(self: folders.FolderCursor, path: str, offset: int, data: memoryview) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folders.FolderCursor, "write_at", no_room)
    with pytest.raises(Full):
        unpack(made.index, made.get, tmp_path / "out", sync=False)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_tree_larger_than_the_disk_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bundle(write_tree(tmp_path / "in", FILES))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1_000_000}))
    with pytest.raises(Full, match=r"needs 18 MiB"):
        unpack(made.index, made.get, tmp_path / "out")


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    made = bundle(write_tree(tmp_path / "in", FILES))
    seen: list[tuple[int, int]] = []
    unpack(
        made.index,
        made.get,
        tmp_path / "out",
        sync=False,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == sorted(seen)
    assert seen[-1] == (made.index.raw_bytes, made.index.raw_bytes)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    made = bundle(write_tree(tmp_path / "in", FILES))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    unpack(made.index, made.get, tmp_path / "out", sync=False)
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(sys.platform != "linux", reason="not applicable: reads /proc")
def test_memory_stays_flat(tmp_path: Path) -> None:
    """192 MiB through a process whose peak stays far below that."""
    script = """
import sys
from pathlib import Path
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.bundle.stage import stage_tree
from pearrt.bundle.unpack import unpack
from pearrt.store.service import Store
home = Path(sys.argv[1])
with Store(home / "store") as store:
    made = stage_tree(home / "in", Manifest("x", "1", Entry(module="x")), store.put, level=1)
    unpack(made.index, store.get, home / "out", sync=False)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    (tmp_path / "in").mkdir()
    piece = noise(9, 1 << 20)
    with (tmp_path / "in" / "big").open("wb") as file:
        for number in range(192):
            file.write(number.to_bytes(4) + piece[4:])
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True, text=True, timeout=120
    )
    assert int(done.stdout) < 150 * 1024


def test_unpacking_xz_needs_only_the_standard_library(tmp_path: Path) -> None:
    made = bundle(write_tree(tmp_path / "in", {"a": text(1, 9000)}), codec="xz", level=0)
    (tmp_path / "index").write_bytes(made.staged.index_bytes)
    for block_id, data in made.blocks.items():
        (tmp_path / block_id.hex()).write_bytes(data)
    script = """
import sys
from pathlib import Path
from pearrt.bundle.index import Index
from pearrt.bundle.unpack import unpack
home = Path(sys.argv[1])
unpack(Index.parse((home / "index").read_bytes()), lambda i: (home / i.hex()).read_bytes(), home / "out")
print(sorted({"zstandard", "nacl", "aiohttp", "platformdirs", "click"} & set(sys.modules)))
"""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(root)])},
    )
    assert done.stdout.strip() == "[]"
    assert (tmp_path / "out" / "a").read_bytes() == text(1, 9000)


names = st.sampled_from(["a", "b", "c/a", "c/b", "c/d/a", "e/a"])
contents = st.binary(max_size=50) | st.integers(1, 3).map(lambda seed: text(seed, 700_000))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(names, contents, min_size=1))
def test_any_tree_round_trips(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("any")
    made = bundle(write_tree(folder / "in", files))
    unpack(made.index, made.get, folder / "out", sync=False)
    assert verify_tree(made.index, folder / "out") == []


def test_verifying_what_is_not_there_is_said(tmp_path: Path) -> None:
    made = bundle(write_tree(tmp_path / "in", {"a": b"a"}))
    with pytest.raises(StoreError):
        verify_tree(made.index, tmp_path / "none")


def test_verify_names_every_difference(tmp_path: Path) -> None:
    made = bundle(write_tree(tmp_path / "in", FILES, executable=("run",)))
    out = tmp_path / "out"
    unpack(made.index, made.get, out, sync=False)
    (out / "empty").write_bytes(b"x")
    (out / "lib" / "small.py").unlink()
    (out / "lib" / "small.py").symlink_to(out / "lib" / "twin.py")
    (out / "lib" / "twin.py").unlink()
    (out / "run").chmod(0o644)
    (out / "new" / "folder").mkdir(parents=True)
    changed = bytearray((out / "lib" / "big.so").read_bytes())
    changed[-1] ^= 1
    (out / "lib" / "big.so").write_bytes(changed)
    assert {difference.path: difference.change for difference in verify_tree(made.index, out)} == {
        "empty": Change.CONTENT,
        "lib/big.so": Change.CONTENT,
        "lib/small.py": Change.KIND,
        "lib/twin.py": Change.MISSING,
        "new": Change.UNEXPECTED,
        "new/folder": Change.UNEXPECTED,
        "run": Change.MODE,
    }
