"""`.pear` files: what is written is read, by everyone; anything else is refused before it costs anything."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pearrt.bundle import stored_zip
from pearrt.bundle.pear_file import MAX_METADATA_BYTES, PearFile, write_pear
from pearrt.bundle.stored_zip import Entry, StoredZip, StoredZipWriter
from pearrt.crypto.hashes import sha256
from pearrt.errors import (
    DigestMismatch,
    LimitExceeded,
    NoSuchApp,
    NoSuchBlock,
    ProtocolViolation,
    RemoteError,
    UserError,
)
from pearrt.link import Link, encode_key

APP, RUNTIME = sha256(b"app"), sha256(b"runtime")
LINK = str(Link(APP))
METADATA = {APP: b"metadata of the app", RUNTIME: b"metadata of the runtime"}
BLOCKS = sorted((sha256(data), data) for data in (b"one", b"two" * 1000, b"3" * (256 * 1024)))


def write(path: Path) -> Path:
    write_pear(path, [LINK], METADATA, BLOCKS)
    return path


def written_by_zipfile(
    path: Path, entries: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


def entries(**more: bytes) -> list[tuple[str, bytes]]:
    """The entries of a good file and `more`, under pearrt/v1."""
    good = [("links", LINK.encode() + b"\n"), (f"{encode_key(APP)}/metadata", b"m")]
    return [(f"pearrt/v1/{name}", data) for name, data in [*good, *more.items()]]


def block_name(data: bytes) -> str:
    return f"block/{sha256(data).hex()}"


def test_what_was_written_is_read(tmp_path: Path) -> None:
    with PearFile(write(tmp_path / "app.pear")) as pear:
        assert pear.links == (LINK,)
        assert pear.apps == tuple(sorted(METADATA))
        assert {key: pear.metadata(key) for key in pear.apps} == METADATA
        assert pear.block_ids() == tuple(block_id for block_id, _ in BLOCKS)
        assert [(block_id, pear.block(block_id)) for block_id in pear.block_ids()] == BLOCKS


def test_equal_contents_are_equal_files(tmp_path: Path) -> None:
    first = write(tmp_path / "a.pear").read_bytes()
    write_pear(tmp_path / "b.pear", [LINK], dict(reversed(METADATA.items())), iter(BLOCKS))
    assert (tmp_path / "b.pear").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pear", "b.pear"]


def test_the_format_does_not_drift(tmp_path: Path) -> None:
    """The example in docs/protocol/pear-file.md."""
    blocks = sorted((sha256(data), data) for data in (b"one", b"two"))
    write_pear(tmp_path / "a", [LINK], {APP: b"metadata"}, blocks)
    data = (tmp_path / "a").read_bytes()
    assert len(data) == 903
    assert sha256(data).hex() == "8e88846a764281320236a9ee98c7f94bc5f6683a781bce6d6f812e8125db01bf"


def test_any_unzip_makes_a_mirror_of_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(write(tmp_path / "app.pear")) as archive:
        assert archive.testzip() is None
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        archive.extractall(tmp_path)
    assert (tmp_path / f"pearrt/v1/{encode_key(APP)}/metadata").read_bytes() == METADATA[APP]
    for block_id, data in BLOCKS:
        assert (tmp_path / "pearrt/v1/block" / block_id.hex()).read_bytes() == data


def test_a_file_that_another_tool_stored_is_read(tmp_path: Path) -> None:
    path = written_by_zipfile(
        tmp_path / "a", [*entries(**{block_name(b"x"): b"x"}), ("pearrt/v1/block/", b"")]
    )
    with PearFile(path) as pear:
        assert pear.block(sha256(b"x")) == b"x"
        assert pear.metadata(APP) == b"m"


def test_names_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    with PearFile(
        written_by_zipfile(tmp_path / "a", entries(news=b"?", **{"../../etc/passwd": b"?"}))
    ) as pear:
        assert pear.block_ids() == ()


def test_what_is_not_there(tmp_path: Path) -> None:
    with PearFile(write(tmp_path / "app.pear")) as pear:
        with pytest.raises(NoSuchBlock):
            pear.block(sha256(b"absent"))
        with pytest.raises(NoSuchApp, match="does not hold") as caught:
            pear.metadata(sha256(b"another app"))
        assert encode_key(APP) in caught.value.hint
    with pytest.raises(UserError, match="No such file"):
        PearFile(tmp_path / "absent.pear")
    with pytest.raises(UserError, match="directory"):
        PearFile(tmp_path)


@pytest.mark.parametrize("blocks", [BLOCKS[::-1], [BLOCKS[0], BLOCKS[0]]])
def test_blocks_out_of_order_are_not_written(tmp_path: Path, blocks: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        write_pear(tmp_path / "a", [LINK], METADATA, blocks)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_block_is_not_written_and_the_old_file_stays(tmp_path: Path) -> None:
    before = write(tmp_path / "a").read_bytes()
    with pytest.raises(DigestMismatch):
        write_pear(tmp_path / "a", [LINK], METADATA, [(sha256(b"one"), b"two")])
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == before


def test_a_link_without_its_metadata_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="metadata"):
        write_pear(tmp_path / "a", [str(Link(sha256(b"another")))], METADATA, BLOCKS)


# -- attacks


def test_a_block_of_other_bytes_is_refused(tmp_path: Path) -> None:
    path = written_by_zipfile(tmp_path / "a", entries(**{block_name(b"good"): b"evil"}))
    with PearFile(path) as pear, pytest.raises(DigestMismatch):
        pear.block(sha256(b"good"))


def test_flipped_metadata_is_noticed(tmp_path: Path) -> None:
    data = bytearray(write(tmp_path / "a").read_bytes())
    data[data.index(METADATA[APP])] ^= 1
    (tmp_path / "a").write_bytes(data)
    with PearFile(tmp_path / "a") as pear, pytest.raises(ProtocolViolation, match="checksum"):
        pear.metadata(APP)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compressed_entry_is_refused_unexpanded(tmp_path: Path, method: int) -> None:
    bomb = entries(**{block_name(b"x"): b"\0" * (64 << 20)})
    with pytest.raises(ProtocolViolation, match="compressed"):
        PearFile(written_by_zipfile(tmp_path / "a", bomb, method))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    name = block_name(b"x")
    twice = [*entries(**{name: b"x"}), (f"pearrt/v1/{name}", b"y")]
    with pytest.raises(ProtocolViolation, match="twice"):
        PearFile(written_by_zipfile(tmp_path / "a", twice))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        (block_name(b"x"), 256 * 1024 + 1),
        (f"{encode_key(RUNTIME)}/metadata", MAX_METADATA_BYTES + 1),
        ("links", 1 << 20),
    ],
)
def test_an_entry_past_its_bound_is_refused(tmp_path: Path, name: str, size: int) -> None:
    given = [item for item in entries() if not item[0].endswith(name)] + [(f"pearrt/v1/{name}", b"\0" * size)]
    with pytest.raises(LimitExceeded, match="at most"):
        PearFile(written_by_zipfile(tmp_path / "a", given))


@pytest.mark.parametrize("links", [b"", b"nonsense\n", b"\xff\xfe", b"https://example.org\n", b"\n" * 100])
def test_links_that_are_none_are_refused(tmp_path: Path, links: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        PearFile(written_by_zipfile(tmp_path / "a", [("pearrt/v1/links", links)]))


def test_a_file_without_links_or_with_a_misspelt_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProtocolViolation, match="names no app"):
        PearFile(written_by_zipfile(tmp_path / "a", entries()[1:]))
    key = encode_key(APP)
    wrong = key[:-1] + ("y" if key[-1] != "y" else "b")
    with pytest.raises(ProtocolViolation, match="wrongly"):
        PearFile(written_by_zipfile(tmp_path / "b", entries(**{f"{wrong}/metadata": b"m"})))


def edited(path: Path, magic: bytes, at: int, form: str, value: int) -> Path:
    """The good file with one number of the first structure that begins with `magic` changed."""
    data = bytearray(write(path).read_bytes())
    struct.pack_into(form, data, data.index(magic) + at, value)
    path.write_bytes(data)
    return path


LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


@pytest.mark.parametrize(
    ("magic", "at", "form", "value", "error"),
    [
        (END, 8, "<I", 0xFFFFFFFF, ProtocolViolation),  # more entries than there are, and no 64-bit end
        (END, 12, "<I", 0xFFFFFFFE, LimitExceeded),  # a directory of 4 GiB
        (END, 12, "<I", 0, ProtocolViolation),
        (END, 16, "<I", 0, ProtocolViolation),
        (END, 20, "<H", 1, ProtocolViolation),  # a comment that is not there
        (END, 4, "<H", 1, ProtocolViolation),  # another disk
        (CENTRAL, 0, "<I", 0, ProtocolViolation),
        (CENTRAL, 8, "<H", 1, ProtocolViolation),  # encrypted
        (CENTRAL, 20, "<I", 5, ProtocolViolation),  # stored with two sizes
        (CENTRAL, 28, "<H", 0xFFFF, ProtocolViolation),  # a name that runs into everything behind it
        (CENTRAL, 30, "<H", 0xFFFF, ProtocolViolation),
        (CENTRAL, 32, "<H", 0xFFFF, ProtocolViolation),
        (CENTRAL, 34, "<H", 1, ProtocolViolation),
        (CENTRAL, 42, "<I", 0xFFFFFFFE, ProtocolViolation),  # begins beyond the end
        (CENTRAL, 42, "<I", 0xFFFFFFFF, ProtocolViolation),  # a 64-bit offset that is missing
        (CENTRAL, 42, "<I", 1, ProtocolViolation),  # begins where no header is
        (LOCAL, 28, "<H", 0xFFFF, ProtocolViolation),  # skips over its own data
    ],
)
def test_numbers_that_lie_are_refused(
    tmp_path: Path, magic: bytes, at: int, form: str, value: int, error: type[RemoteError]
) -> None:
    with pytest.raises(error):
        PearFile(edited(tmp_path / "a", magic, at, form, value))


def test_sizes_that_lie_together_are_refused(tmp_path: Path) -> None:
    data = bytearray(write(tmp_path / "a").read_bytes())
    at = data.index(CENTRAL)
    struct.pack_into("<II", data, at + 20, 100_000, 100_000)  # runs into the next entries: checksum
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(ProtocolViolation):
        PearFile(tmp_path / "a")


def test_a_directory_of_millions_of_entries_is_refused_unread() -> None:
    class Counting(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert size >= 0
            self.taken += size
            return super().read(size)

    count, size = 10_000_000, 460_000_000
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 0, 45, 0, 0, count, count, size, 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, 0, 1)
    end = struct.pack("<4s4H2IH", END, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    stream = Counting(end64 + locator + end)
    with pytest.raises(LimitExceeded, match="10000000 files"):
        StoredZip(stream)
    assert stream.taken < 200


def test_64_bit_offsets_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As past 4 GiB, with the borders moved; the standard library reads what is written."""
    monkeypatch.setattr(stored_zip, "_U16", 3)
    stream = io.BytesIO()
    writer = StoredZipWriter(stream)
    for number in range(5):
        writer.add(str(number), bytes([number]) * 50)
    writer.finish()
    with zipfile.ZipFile(stream) as archive:
        assert archive.namelist() == list("01234")
        assert archive.read("4") == b"\4" * 50
    monkeypatch.undo()
    data = stream.getvalue()
    end = data.rindex(END)
    patched = data[: end + 8] + struct.pack("<HH", 0xFFFF, 0xFFFF) + data[end + 12 :]
    archive_read = StoredZip(io.BytesIO(patched))
    assert [name for name, _ in archive_read.entries()] == list("01234")


def test_a_far_offset_is_read_from_its_64_bit_field() -> None:
    extra = struct.pack("<2HQ", 1, 8, 7 << 32)
    assert stored_zip._wide(extra, 5, 5, 0xFFFFFFFF) == (5, 5, 7 << 32)
    before = struct.pack("<2H4s", 0x5455, 4, b"time")
    assert stored_zip._wide(before + extra, 5, 5, 0xFFFFFFFF) == (5, 5, 7 << 32)
    for broken in (b"", extra[:-1], struct.pack("<2H4s", 0x5455, 0xFFFF, b"time")):
        with pytest.raises(ProtocolViolation):
            stored_zip._wide(broken, 5, 5, 0xFFFFFFFF)


def test_reading_an_entry_that_was_made_up_is_refused(tmp_path: Path) -> None:
    with write(tmp_path / "a").open("rb") as stream:
        archive = StoredZip(stream)
        for entry in (Entry(10**9, 1, 0), Entry(0, 10**9, 0), Entry(3, 1, 0)):
            with pytest.raises(ProtocolViolation):
                archive.read(entry)


def damage(data: bytes, kind: str, where: int, value: int) -> bytes:
    where %= len(data)
    if kind == "cut":
        return data[:where]
    if kind == "insert":
        return data[:where] + bytes([value]) + data[where:]
    return data[:where] + bytes([data[where] ^ (value or 1)]) + data[where + 1 :]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["cut", "insert", "flip"]), where=st.integers(0), value=st.integers(0, 255))
def test_damage_anywhere_is_refused_or_harmless(tmp_path: Path, kind: str, where: int, value: int) -> None:
    """Whatever a damaged file still gives is what was written."""
    path = tmp_path / "a"
    small = [item for item in BLOCKS if len(item[1]) < 5000]
    write_pear(path, [LINK], METADATA, small)
    path.write_bytes(damage(path.read_bytes(), kind, where, value))
    with contextlib.suppress(RemoteError, DigestMismatch), PearFile(path) as pear:
        assert pear.links == (LINK,)
        for block_id in pear.block_ids():
            assert sha256(pear.block(block_id)) == block_id
        for app_key in pear.apps:
            assert pear.metadata(app_key) == METADATA[app_key]
