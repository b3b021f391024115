"""Attacks on the index: broken, lying, huge or ambiguous ones are refused, in bounded time and memory."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearrt.bundle.index import MAX_FILES, MAX_FRAMES, MAX_INDEX_BYTES, MAX_TREE_BYTES, File, Frame, Index
from pearrt.codec import bencode
from pearrt.crypto.hashes import sha256
from pearrt.errors import LimitExceeded, ProtocolViolation, RemoteError
from tests.support.trees import MANIFEST, encoded_index

EMPTY = sha256(b"")
DIGEST = sha256(b"x")
BLOCK = sha256(b"block")


def refused(data: bytes, error: type[RemoteError] = ProtocolViolation) -> None:
    with pytest.raises(error):
        Index.parse(data)


def test_unsorted_files_are_refused() -> None:
    refused(encoded_index(["b", "a"]))


def test_duplicate_files_are_refused() -> None:
    refused(encoded_index(["a", "a"]))


def test_order_is_that_of_bytes() -> None:
    paths = ["B", "a", "a.b", "a0/x", "é", "\uffe0", "😀"]
    assert [file.path for file in Index.parse(encoded_index(list(paths))).files] == paths
    refused(encoded_index(["😀", "\uffe0"]))  # the order of UTF-16


def test_ten_million_entries_are_refused_in_bounded_time_and_memory() -> None:
    data = b"d5:codec4:zstd5:filesl" + b"le" * 10_000_000 + b"e"
    started = time.process_time()
    tracemalloc.start()
    refused(data, LimitExceeded)
    refused(data[:MAX_INDEX_BYTES], LimitExceeded)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.process_time() - started < 20
    assert peak < 150_000_000


def test_more_files_or_frames_than_allowed_are_refused() -> None:
    refused(encoded_index([], files=[[]] * (MAX_FILES + 1)), LimitExceeded)
    refused(encoded_index([], frames=[[]] * (MAX_FRAMES + 1)), LimitExceeded)


@pytest.mark.parametrize("size", [-1, MAX_TREE_BYTES + 1, 2**63, 2**64, 10**19])
def test_size_out_of_range_is_refused(size: int) -> None:
    refused(encoded_index([], files=[["a", size, 0, DIGEST]]))


def test_sum_of_sizes_past_the_limit_is_refused() -> None:
    """One stored content named by many paths: small to fetch, endless on disk."""
    size = MAX_TREE_BYTES // 2 + 1
    refused(encoded_index([], files=[[path, size, 0, DIGEST] for path in ("a", "b")]), LimitExceeded)


def test_frames_that_hold_more_or_less_than_the_files_are_refused() -> None:
    files = [["a", 100, 0, DIGEST]]
    assert Index.parse(encoded_index([], files=files, frames=[[100, 50, BLOCK]])).raw_bytes == 100
    for frames in ([], [[99, 50, BLOCK]], [[101, 50, BLOCK]], [[100, 50, BLOCK], [1, 1, BLOCK]]):
        refused(encoded_index([], files=files, frames=frames))


@pytest.mark.parametrize(
    "frame",
    [
        [100, 101, BLOCK],  # stored larger than raw
        [100, 0, b""],
        [0, 0, b""],
        [100, -1, BLOCK],
        [100, 50, b""],
        [100, 50, BLOCK * 2],
        [100, 50, BLOCK[:-1]],
        [2**40, 50, BLOCK],
        [100, 50],
        [100, 50, BLOCK, 0],
        [b"100", 50, BLOCK],
        {},
    ],
)
def test_frame_of_wrong_sizes_or_shape_is_refused(frame: object) -> None:
    refused(encoded_index([], files=[["a", 100, 0, DIGEST]], frames=[frame]))


@pytest.mark.parametrize(
    "file",
    [
        ["a", 1, 0],
        ["a", 1, 0, DIGEST, 0],
        ["a", 1, 2, DIGEST],
        ["a", 1, -1, DIGEST],
        ["a", 1, 0, DIGEST[:-1]],
        ["a", 0, 0, DIGEST],  # an empty file has one digest
        ["a", 1, 0, EMPTY],
        ["a", b"1", 0, DIGEST],
        [1, 1, 0, DIGEST],
        b"a",
        {},
    ],
)
def test_file_entry_of_another_shape_is_refused(file: object) -> None:
    refused(encoded_index([], files=[file], frames=[[1, 1, BLOCK]]))


@pytest.mark.parametrize(
    "mode", [0o4755, 0o2755, 0o1755, 0o755, 0o120777, 0o020666, 0o060660, 0o010644, 2, 3, -1, b"link", ["a"]]
)
def test_symlink_hard_link_device_and_setuid_entries_cannot_be_said(mode: object) -> None:
    """An entry has a path, a size, one bit for execution and a digest: no type, no target, no mode."""
    refused(encoded_index([], files=[["a", 1, mode, DIGEST]], frames=[[1, 1, BLOCK]]))
    refused(encoded_index([], files=[["a", 1, 0, DIGEST, "target"]], frames=[[1, 1, BLOCK]]))


def test_one_digest_with_two_sizes_is_refused() -> None:
    files = [["a", 1, 0, DIGEST], ["b", 2, 0, DIGEST]]
    refused(encoded_index([], files=files, frames=[[1, 1, BLOCK]]))


def test_one_block_with_two_sizes_is_refused() -> None:
    files = [["a", 3, 0, DIGEST]]
    refused(encoded_index([], files=files, frames=[[1, 1, BLOCK], [2, 2, BLOCK]]))


@pytest.mark.parametrize("codec", ["", "ZSTD", "lz4", "zstd\0", b"\xff", 1])
def test_unknown_codec_is_refused(codec: object) -> None:
    refused(encoded_index([], codec=codec))


def test_compressed_frame_under_codec_raw_is_refused() -> None:
    refused(encoded_index([], codec="raw", files=[["a", 2, 0, DIGEST]], frames=[[2, 1, BLOCK]]))


@pytest.mark.parametrize("version", [0, 2, -1, b"1"])
def test_another_format_is_refused(version: object) -> None:
    refused(encoded_index([], format=version))


@pytest.mark.parametrize("key", ["files", "frames", "manifest"])
@pytest.mark.parametrize("value", [0, b"x", {}, [0]])
def test_value_of_another_type_is_refused(key: str, value: object) -> None:
    refused(encoded_index([], **{key: value}))


def test_too_many_files_or_frames_are_refused_before_they_are_staged() -> None:
    file, frame = File("a", 0, False, EMPTY), Frame(1, 1, ())
    with pytest.raises(LimitExceeded):
        Index(MANIFEST, (file,) * (MAX_FILES + 1), "zstd", ()).check_files()
    with pytest.raises(LimitExceeded):
        Index(MANIFEST, (), "zstd", (frame,) * (MAX_FRAMES + 1)).check_frames()


def test_index_over_the_limit_is_not_even_read() -> None:
    refused(bytes(MAX_INDEX_BYTES + 1), LimitExceeded)


def test_unknown_and_missing_keys_are_refused() -> None:
    refused(encoded_index([], symlinks=[]))
    value = bencode.decode(encoded_index([]))
    del value[b"frames"]
    refused(bencode.encode(value))


@pytest.mark.parametrize("data", [b"", b"i1e", b"le", b"de", b"4:spam", b"d", b"\xff", b"d4:spam"])
def test_what_is_no_index_is_refused(data: bytes) -> None:
    refused(data)


def test_entry_file_that_is_not_there_is_refused() -> None:
    manifest = MANIFEST.to_value() | {"entry": {"file": "main.py"}}
    assert Index.parse(encoded_index(["main.py"], manifest=manifest)).manifest.entry.file == "main.py"
    refused(encoded_index(["other.py"], manifest=manifest))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a\x1b[2J"},
        {"name": "\u202egpj.exe"},
        {"name": ""},
        {"name": " padded "},
        {"version": "1 2"},
        {"version": ""},
        {"kind": "kernel"},
        {"platform": "../x"},
        {"path": ["../.."]},
        {"path": ["a", "a"]},
        {"path": "a"},
        {"entry": {}},
        {"entry": {"module": "a", "file": "a"}},
        {"entry": {"function": "f"}},
        {"entry": {"module": "os;x"}},
        {"entry": {"module": "a", "function": "b c"}},
        {"entry": {"file": "../x"}},
        {"entry": {"module": "a", "arguments": ["\0"]}},
        {"entry": {"module": "a", "shell": "x"}},
        {"permissions": b"[]"},
        {"permissions": b'{"a":1,"a":2}'},
        {"permissions": b'{ "a":1}'},
        {"permissions": b'{"a":1.5}'},
        {"permissions": b"{}"},
        {"setuid": 1},
    ],
)
def test_manifest_that_breaks_a_rule_is_refused(changes: dict[str, object]) -> None:
    refused(encoded_index([], manifest=MANIFEST.to_value() | changes))


@pytest.mark.parametrize("key", ["entry", "kind", "name", "path", "permissions", "platform", "version"])
def test_manifest_key_of_another_type_or_missing_is_refused(key: str) -> None:
    wrong: list[object] = [0, b"\xff", [0], [b"\xff"], [[]], b"x" * 2000, {b"x": 0}]
    for value in wrong:
        refused(encoded_index([], manifest=MANIFEST.to_value() | {key: value}), RemoteError)
    if key != "permissions":
        left = {name: value for name, value in MANIFEST.to_value().items() if name != key}
        refused(encoded_index([], manifest=left))


@pytest.mark.parametrize(
    "entry", [0, b"x", [], {"module": 0}, {"module": b"\xff"}, {"file": []}, {"arguments": 0}]
)
def test_entry_of_another_type_is_refused(entry: object) -> None:
    refused(encoded_index([], manifest=MANIFEST.to_value() | {"entry": entry}))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "n" * 101},
        {"version": "1" * 65},
        {"path": [str(n) for n in range(17)]},
        {"entry": {"module": "a", "arguments": [str(n) for n in range(33)]}},
        {"permissions": b'{"a":"' + b"x" * 9000 + b'"}'},
        {"permissions": b'{"a":' + b"[" * 20 + b"]" * 20 + b"}"},
    ],
)
def test_manifest_past_a_limit_is_refused(changes: dict[str, object]) -> None:
    refused(encoded_index([], manifest=MANIFEST.to_value() | changes), RemoteError)


GOOD = encoded_index([], files=[["a", 100, 0, DIGEST], ["b/c", 0, 1, EMPTY]], frames=[[100, 50, BLOCK]])


def test_truncated_index_raises_only_remote_errors() -> None:
    for length in range(len(GOOD)):
        refused(GOOD[:length], RemoteError)
    refused(GOOD + b"e", RemoteError)


@given(st.integers(0, len(GOOD) * 8 - 1))
def test_flipped_bit_gives_another_valid_index_or_a_remote_error(bit: int) -> None:
    data = bytearray(GOOD)
    data[bit // 8] ^= 1 << bit % 8
    try:
        index = Index.parse(bytes(data))
    except RemoteError:
        return
    assert index.encode() == bytes(data)


@given(st.binary(max_size=300))
def test_random_bytes_raise_only_remote_errors(data: bytes) -> None:
    refused(data, RemoteError)
