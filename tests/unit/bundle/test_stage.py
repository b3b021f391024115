"""Staging: the same tree gives the same bytes, and nothing but files gets in."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from pearrt.bundle.index import BLOCK_BYTES, Index, split_index
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.bundle.stage import stage_tree
from pearrt.crypto.hashes import sha256
from pearrt.errors import UserError
from tests.support.trees import MANIFEST, bundle, noise, text, write_tree

FILES = {
    "b/two": text(2, 40_000),
    "a/one": text(1, 700_000),
    "a/one_again": text(1, 700_000),
    "noise": noise(3, 600_000),
    "big": text(4, 5_000_000),
    "none": b"",
}
VECTORS = Path(__file__).parents[2] / "vectors" / "bundle"


def test_same_tree_gives_same_bytes_whatever_the_disk_says(tmp_path: Path) -> None:
    first = bundle(write_tree(tmp_path / "1", FILES, executable=("noise",)))
    second_tree = write_tree(tmp_path / "2", dict(reversed(FILES.items())), executable=("noise",))
    for number, path in enumerate(second_tree.rglob("*")):
        os.utime(path, (number, number))
        if path.is_file():
            path.chmod(0o711 if path.name == "noise" else 0o600)
    second = bundle(second_tree)
    assert second.staged == first.staged
    assert second.blocks == first.blocks


def test_workers_do_not_change_the_bytes(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, FILES)
    digests = {
        stage_tree(tree, MANIFEST, lambda i, d: None, level=3, workers=workers).digest
        for workers in (1, 2, 5)
    }
    assert len(digests) == 1


def test_tree_digest_is_the_same_for_every_codec_and_level(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, {"a": text(1, 5000)})
    made = [
        bundle(tree, codec="zstd", level=1),
        bundle(tree, codec="zstd", level=19),
        bundle(tree, codec="xz"),
    ]
    assert len({each.index.tree_digest for each in made}) == 1
    assert len({each.staged.digest for each in made}) == 3


def test_every_fact_moves_the_digest(tmp_path: Path) -> None:
    seen = set()
    for number, (files, executable, name) in enumerate(
        [
            ({"a": b"1"}, (), "n"),
            ({"a": b"2"}, (), "n"),
            ({"b": b"1"}, (), "n"),
            ({"a": b"1", "b": b""}, (), "n"),
            ({"a": b"1"}, ("a",), "n"),
            ({"a": b"1"}, (), "m"),
        ]
    ):
        tree = write_tree(tmp_path / str(number), files, executable)
        manifest = Manifest(name=name, version="1", entry=Entry(module="x"))
        made = bundle(tree, manifest=manifest)
        seen |= {made.staged.digest, made.index.tree_digest}
    assert len(seen) == 12


def test_equal_contents_are_stored_once(tmp_path: Path) -> None:
    one = bundle(write_tree(tmp_path / "1", {"a": noise(1, 300_000)}))
    two = bundle(write_tree(tmp_path / "2", {"a": noise(1, 300_000), "b/c": noise(1, 300_000)}))
    assert two.index.blocks == one.index.blocks
    assert two.index.tree_bytes == 2 * one.index.tree_bytes


def test_blocks_are_what_the_index_says(tmp_path: Path) -> None:
    made = bundle(write_tree(tmp_path, FILES))
    for block in made.index.blocks:
        data = made.blocks[block.id]
        assert (sha256(data), len(data)) == (block.id, block.size)
        assert 0 < block.size <= BLOCK_BYTES
    assert b"".join(made.blocks[i] for i in made.staged.index_blocks) == made.staged.index_bytes
    assert sha256(made.staged.index_bytes) == made.staged.digest
    assert Index.parse(made.staged.index_bytes) == made.index
    assert set(made.blocks) == {block.id for block in made.index.blocks} | set(made.staged.index_blocks)
    assert made.staged.stored_bytes == sum(block.size for block in made.index.blocks)


def test_long_index_is_cut_into_blocks() -> None:
    data = noise(1, 600_000)
    parts = split_index(data)
    assert [len(part) for _, part in parts] == [BLOCK_BYTES, BLOCK_BYTES, 600_000 - 2 * BLOCK_BYTES]
    assert b"".join(part for _, part in parts) == data


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    tree = write_tree(tmp_path, FILES)
    stage_tree(
        tree, MANIFEST, lambda i, d: None, level=1, progress=lambda done, total: seen.append((done, total))
    )
    total = sum(map(len, set(FILES.values())))
    assert seen[-1] == (total, total)


def test_empty_tree_is_a_bundle(tmp_path: Path) -> None:
    assert bundle(tmp_path).index.files == ()


def test_links_devices_and_sockets_are_refused(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"x")
    link = tmp_path / "link"
    for make in (
        lambda: link.symlink_to("target"),
        lambda: link.symlink_to("/etc/passwd"),
        lambda: link.symlink_to(tmp_path),
        lambda: os.mkfifo(link),
    ):
        make()
        with pytest.raises(UserError):
            bundle(tmp_path)
        link.unlink()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(link))
        with pytest.raises(UserError):
            bundle(tmp_path)


def test_setuid_bits_do_not_get_in(tmp_path: Path) -> None:
    write_tree(tmp_path, {"tool": b"x"}, executable=("tool",))
    plain = bundle(tmp_path).staged.digest
    (tmp_path / "tool").chmod(0o6755)
    assert bundle(tmp_path).staged.digest == plain


@pytest.mark.parametrize(
    "names", [("a", "A"), ("aux.py",), ("a:b",), ("x ",), ("new\nline",), ("straße", "strasse")]
)
def test_names_that_no_bundle_may_hold_are_the_publishers_to_change(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    write_tree(tmp_path, dict.fromkeys(names, b"x"))
    with pytest.raises(UserError) as caught:
        bundle(tmp_path)
    assert caught.value.hint


def test_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff", "wb"):
        pass
    with pytest.raises(UserError):
        bundle(tmp_path)


def test_file_that_changes_meanwhile_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pearrt.bundle import stage

    write_tree(tmp_path, {"a": b"before"})
    real = stage.plan_frames

    def change_first(contents: object, *group: object) -> object:
        (tmp_path / "a").write_bytes(b"AFTER!")
        return real(contents, *group)  # type: ignore[arg-type]

    monkeypatch.setattr(stage, "plan_frames", change_first)
    with pytest.raises(UserError, match="changed"):
        bundle(tmp_path)


def test_protocol_page_shows_the_first_vector() -> None:
    page = (Path(__file__).parents[3] / "docs" / "protocol" / "bundle.md").read_text()
    vector = json.loads((VECTORS / "bundles.json").read_text())[0]
    assert vector["index_digest"] in page
    assert vector["tree_digest"] in page
    assert f"{len(vector['index']) // 2} bytes long" in page


@pytest.mark.parametrize(
    "vector", json.loads((VECTORS / "bundles.json").read_text()), ids=lambda v: v["about"]
)
def test_vectors_hold(tmp_path: Path, vector: dict[str, object]) -> None:
    """The bytes that docs/protocol/bundle.md shows: raw frames, for others depend on a library's version."""
    files = {path: bytes.fromhex(data) for path, data in vector["files"].items()}  # type: ignore[attr-defined]
    tree = write_tree(tmp_path, files, executable=tuple(vector["executable"]))  # type: ignore[arg-type]
    manifest = Manifest(name="hello", version="1.0", entry=Entry.parse(str(vector["entry"])))
    made = bundle(tree, codec=str(vector["codec"]), level=9, manifest=manifest)
    assert made.staged.index_bytes.hex() == vector["index"]
    assert made.staged.digest.hex() == vector["index_digest"]
    assert made.index.tree_digest.hex() == vector["tree_digest"]
    assert {i.hex(): d.hex() for i, d in made.blocks.items()} == vector["blocks"]
