"""Attacks on frames and blocks: refused with bounded memory, and nothing is left on disk."""

from __future__ import annotations

import contextlib
import lzma
import random
import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pearrt.bundle.codecs import Codec
from pearrt.bundle.unpack import unpack
from pearrt.errors import DigestMismatch, PearrtError, ProtocolViolation, RemoteError
from tests.support.trees import Bundle, bundle, noise, one_frame, text, write_tree

RAW = text(1, 5000)
MIB = 1024 * 1024


def zstd(data: bytes, **options: object) -> bytes:
    return bytes(zstandard.ZstdCompressor(level=3, **options).compress(data))  # type: ignore[arg-type]


def refused(stored: bytes, raw_size: int, codec: str = "zstd") -> None:
    """The stored bytes are refused without ever taking much more memory than the frame may have."""
    tracemalloc.start()
    with pytest.raises(ProtocolViolation):
        Codec(codec).unpack(stored, raw_size)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MIB + 2 * raw_size


BOMB = bytes(64 * MIB)


def test_bomb_is_refused() -> None:
    """A few kB that expand to 64 MiB, in a frame that should hold 100 kB."""
    refused(zstd(BOMB), 100_000)
    refused(zlib.compress(BOMB), 100_000, "zlib")
    refused(lzma.compress(BOMB, lzma.FORMAT_XZ), 100_000, "xz")


def test_zstd_bomb_with_lying_size_is_refused() -> None:
    """The header promises what the index says; the blocks inside hold more."""
    honest = bytearray(zstd(BOMB))
    descriptor = honest[4]
    assert descriptor >> 6 == 2  # four bytes of content size, after one of window or none
    at = 5 if descriptor & 0x20 else 6
    honest[at : at + 4] = struct.pack("<I", 100_000)
    refused(bytes(honest), 100_000)


def test_frame_that_promises_more_than_it_holds_is_refused() -> None:
    stored = bytearray(zstd(RAW))
    size_at = 5 if stored[4] & 0x20 else 6
    assert stored[4] >> 6 == 1  # two bytes, offset by 256
    stored[size_at : size_at + 2] = struct.pack("<H", 6000 - 256)
    refused(bytes(stored), 6000)


def test_frame_without_size_is_refused() -> None:
    refused(zstd(RAW, write_content_size=False), len(RAW))


def test_huge_window_is_refused() -> None:
    """A window of 128 MiB that no frame needs would have to be allocated before the first byte."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27, write_content_size=1)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=len(RAW))
    stored = bytearray(stream.compress(RAW) + stream.flush())
    if stored[4] & 0x20:  # single segment: no window byte; write one by hand
        descriptor = (stored[4] & ~0x20) | 0
        stored[4:5] = bytes([descriptor, (27 - 10) << 3])
    assert zstandard.get_frame_parameters(bytes(stored)).window_size >= 128 * MIB
    refused(bytes(stored), len(RAW))


def test_trailing_second_frame_is_refused() -> None:
    refused(zstd(RAW) + zstd(b"more"), len(RAW))
    refused(zstd(RAW[:2500]) + zstd(RAW[2500:]), len(RAW))
    refused(zlib.compress(RAW) + zlib.compress(b"x"), len(RAW), "zlib")
    refused(lzma.compress(RAW) + lzma.compress(b""), len(RAW), "xz")
    refused(lzma.compress(RAW) + bytes(4), len(RAW), "xz")  # stream padding


def test_skippable_frame_is_refused() -> None:
    skippable = b"\x50\x2a\x4d\x18" + struct.pack("<I", 4) + b"skip"
    refused(skippable + zstd(RAW), len(RAW))
    refused(zstd(RAW) + skippable, len(RAW))


def test_dictionary_reference_is_refused() -> None:
    dictionary = zstandard.train_dictionary(4096, [text(n, 500) for n in range(200)])
    refused(zstd(RAW, dict_data=dictionary), len(RAW))
    packer = zlib.compressobj(zdict=b"0,1,2,3")
    refused(packer.compress(RAW) + packer.flush(), len(RAW), "zlib")


def test_checksum_is_refused() -> None:
    """It would be a second way to write the same frame."""
    refused(zstd(RAW, write_checksum=True), len(RAW))


@pytest.mark.parametrize("codec", ["zstd", "xz", "zlib"])
def test_truncated_and_lengthened_frames_are_refused(codec: str) -> None:
    stored = Codec(codec, 3).pack(RAW)
    for length in range(0, len(stored), 7):
        refused(stored[:length], len(RAW), codec)
    refused(stored[:-1], len(RAW), codec)
    refused(stored + b"\0", len(RAW), codec)
    refused(b"", len(RAW), codec)


@pytest.mark.parametrize("codec", ["zstd", "xz", "zlib"])
def test_frame_one_byte_longer_or_shorter_than_stated_is_refused(codec: str) -> None:
    stored = Codec(codec, 3).pack(RAW)
    refused(stored, len(RAW) - 1, codec)
    refused(stored, len(RAW) + 1, codec)


def test_lzma_alone_and_gzip_are_not_xz_and_zlib() -> None:
    import gzip

    refused(lzma.compress(RAW, lzma.FORMAT_ALONE), len(RAW), "xz")
    refused(gzip.compress(RAW), len(RAW), "zlib")


def test_xz_with_a_huge_dictionary_is_refused() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 512 * MIB}]
    refused(lzma.compress(RAW, lzma.FORMAT_XZ, filters=filters), len(RAW), "xz")


def test_raw_codec_never_expands() -> None:
    refused(RAW[:-1], len(RAW), "raw")


@given(st.integers(0, 2**32), st.sampled_from(["zstd", "xz", "zlib"]))
def test_flipped_bit_never_gives_more_or_another_error(seed: int, codec: str) -> None:
    chosen = random.Random(seed)
    stored = bytearray(Codec(codec, 3).pack(RAW))
    bit = chosen.randrange(len(stored) * 8)
    stored[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(RemoteError):
        assert len(Codec(codec).unpack(bytes(stored), len(RAW))) == len(RAW)


def unpack_fails(made: Bundle, folder: Path, error: type[PearrtError]) -> None:
    """The tree is refused; neither it nor a temporary folder is left."""
    with pytest.raises(error):
        unpack(made.index, made.get, folder / "out", sync=False)
    assert list(folder.iterdir()) == []


def test_right_digest_in_the_wrong_place_is_refused(tmp_path: Path) -> None:
    """Blocks that are what their ids say, in a frame order that the files do not have."""
    made = bundle(write_tree(tmp_path / "in", {"a": noise(1, 300_000), "b": noise(2, 300_000)}))
    first, second = made.index.blocks[0].id, made.index.blocks[-1].id
    swapped = {first: second, second: first}

    def get(block_id: bytes) -> bytes:
        return made.blocks[swapped.get(block_id, block_id)]

    (tmp_path / "dir").mkdir()
    with pytest.raises((DigestMismatch, ProtocolViolation)):
        unpack(made.index, get, tmp_path / "dir" / "out", sync=False)
    assert list((tmp_path / "dir").iterdir()) == []


def test_content_that_is_not_the_files_is_refused(tmp_path: Path) -> None:
    other = zstd(text(2, len(RAW)))
    unpack_fails(one_frame(other, RAW), tmp_path, DigestMismatch)
    unpack_fails(one_frame(text(2, len(RAW)), RAW), tmp_path, DigestMismatch)


def test_large_content_that_differs_in_its_last_frame_is_refused(tmp_path: Path) -> None:
    made = bundle(write_tree(tmp_path / "in", {"big": noise(3, 5 * MIB)}))
    last = made.index.blocks[-1].id
    made.blocks[last] = made.blocks[last][:-1] + b"\0"
    (tmp_path / "dir").mkdir()
    unpack_fails(made, tmp_path / "dir", DigestMismatch)


def test_block_of_another_length_is_refused(tmp_path: Path) -> None:
    made = one_frame(zstd(RAW), RAW)
    (block,) = made.index.blocks
    for wrong in (b"", made.blocks[block.id][:-1], made.blocks[block.id] + b"\0"):
        made.blocks[block.id] = wrong
        unpack_fails(made, tmp_path, ProtocolViolation)


def test_bomb_in_a_bundle_leaves_nothing(tmp_path: Path) -> None:
    unpack_fails(one_frame(zstd(BOMB), RAW), tmp_path, ProtocolViolation)


def test_link_put_in_the_way_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can write into the temporary folder gains nothing: nothing outside changes."""
    from pearrt.bundle import folders

    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_bytes(b"mine")
    made = bundle(write_tree(tmp_path / "in", {"sub/victim": RAW}))
    (tmp_path / "dir").mkdir()
    real = folders.FolderCursor.create

    def create(self: folders.FolderCursor, path: str, executable: bool, data: bytes) -> None:
        (temporary,) = (tmp_path / "dir").iterdir()
        (temporary / "sub").symlink_to(outside)
        real(self, path, executable, data)

    monkeypatch.setattr(folders.FolderCursor, "create", create)
    unpack_fails(made, tmp_path / "dir", PearrtError)
    assert (outside / "victim").read_bytes() == b"mine"


def test_file_put_in_the_way_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pearrt.bundle import folders

    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    made = bundle(write_tree(tmp_path / "in", {"a": RAW}))
    (tmp_path / "dir").mkdir()
    real = folders.FolderCursor.create

    def create(self: folders.FolderCursor, path: str, executable: bool, data: bytes) -> None:
        (temporary,) = (tmp_path / "dir").iterdir()
        (temporary / "a").symlink_to(victim)
        real(self, path, executable, data)

    monkeypatch.setattr(folders.FolderCursor, "create", create)
    unpack_fails(made, tmp_path / "dir", PearrtError)
    assert victim.read_bytes() == b"mine"
