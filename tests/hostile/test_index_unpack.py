"""An index bent in any way, with honest blocks: refused, or what is unpacked is exactly what it says."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pearrt.bundle.index import Index
from pearrt.bundle.unpack import unpack
from pearrt.bundle.verify import verify_tree
from pearrt.codec import bencode
from pearrt.errors import PearrtError
from tests.support.trees import bundle, noise, text, write_tree

ROUNDS = 250
FILES = {
    "a/one": text(1, 3000),
    "a/two": text(2, 3000),
    "b": b"",
    "c/d/e": noise(1, 2000),
    "c/twin": text(1, 3000),
    "large": text(3, 1_200_000),
    "larger": noise(2, 4_300_000),
}
Bend = Callable[[dict[bytes, Any], random.Random], None]


def pick(rows: list[Any], chosen: random.Random) -> Any:
    return rows[chosen.randrange(len(rows))]


def swap(rows: list[Any], chosen: random.Random) -> None:
    first, second = chosen.randrange(len(rows)), chosen.randrange(len(rows))
    rows[first], rows[second] = rows[second], rows[first]


def exchange(rows: list[Any], column: int, chosen: random.Random) -> None:
    first, second = pick(rows, chosen), pick(rows, chosen)
    first[column], second[column] = second[column], first[column]


def shift(rows: list[Any], column: int, chosen: random.Random) -> None:
    """Takes from one row what it gives to another: sums stay."""
    amount = chosen.choice([1, 100, 3000, 262_144])
    pick(rows, chosen)[column] += amount
    pick(rows, chosen)[column] -= amount


BENDS: list[Bend] = [
    lambda value, chosen: swap(value[b"frames"], chosen),
    lambda value, chosen: exchange(value[b"files"], 3, chosen),
    lambda value, chosen: exchange(value[b"files"], 1, chosen),
    lambda value, chosen: exchange(value[b"files"], 0, chosen),
    lambda value, chosen: shift(value[b"files"], 1, chosen),
    lambda value, chosen: shift(value[b"frames"], 0, chosen),
    lambda value, chosen: exchange(value[b"frames"], 2, chosen),
    lambda value, chosen: exchange(value[b"frames"], 0, chosen),
    lambda value, chosen: value.update({b"codec": chosen.choice([b"xz", b"zlib", b"raw", b"zstd"])}),
    lambda value, chosen: value[b"files"].pop(chosen.randrange(len(value[b"files"]))),
    lambda value, chosen: value[b"frames"].pop(chosen.randrange(len(value[b"frames"]))),
    lambda value, chosen: value[b"frames"].insert(0, pick(value[b"frames"], chosen)),
    lambda value, chosen: pick(value[b"files"], chosen).__setitem__(3, chosen.randbytes(32)),
    lambda value, chosen: pick(value[b"files"], chosen).__setitem__(
        0, chosen.choice([b"../x", b"/x", b"a", b"z"])
    ),
    lambda value, chosen: pick(value[b"files"], chosen).__setitem__(2, chosen.choice([0, 1, 2])),
]


def test_bent_index_is_refused_or_unpacked_exactly(tmp_path: Path) -> None:
    chosen = random.Random(20261120)
    made = bundle(write_tree(tmp_path / "in", FILES))
    releases = tmp_path / "releases"
    releases.mkdir()
    accepted = refused = 0
    for _ in range(ROUNDS):
        value = bencode.decode(made.staged.index_bytes)
        for _ in range(chosen.choice([1, 1, 2])):
            pick(BENDS, chosen)(value, chosen)
        value[b"files"].sort(key=lambda row: row[0])
        data = bencode.encode(value)
        try:
            index = Index.parse(data)
            assert index.encode() == data
            unpack(index, made.get, releases / "out", sync=False)
        except PearrtError:
            refused += 1
        else:
            accepted += 1
            assert verify_tree(index, releases / "out") == []
            (releases / "out").rename(tmp_path / f"accepted{accepted}")
        assert list(releases.iterdir()) == []
        assert not (tmp_path / "x").exists()
    assert refused > 100
    assert accepted > 10


@pytest.mark.parametrize("size", [1, 2, 1000, 65_536, 300_000])
def test_frames_may_be_cut_anywhere(tmp_path: Path, size: int) -> None:
    """Readers take any partition of the raw stream, not only the one that staging makes."""
    from pearrt.bundle.index import MAX_FRAMES
    from tests.support.trees import frame

    files = (
        FILES
        if size > 100
        else {path: FILES[path][:2000] for path in ("a/one", "a/two", "b", "c/d/e", "c/twin")}
    )
    made = bundle(write_tree(tmp_path / "in", files), codec="raw")
    stream = b"".join(files[file.path] for file in made.index.contents)
    parts = [
        frame(len(part), part) for part in (stream[at : at + size] for at in range(0, len(stream), size))
    ]
    assert len(parts) <= MAX_FRAMES
    blocks = {block_id: data for _, held in parts for block_id, data in held.items()}
    index = Index(made.index.manifest, made.index.files, "raw", tuple(each for each, _ in parts))
    assert Index.parse(index.encode()) == index
    unpack(index, blocks.__getitem__, tmp_path / "out", sync=False)
    assert verify_tree(index, tmp_path / "out") == []
