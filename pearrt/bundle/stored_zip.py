"""ZIP archives whose entries are stored, not compressed: a small profile, written byte for byte alike and
read within bounds.

Written: fixed date, no extra fields but ZIP64's where an offset needs them, no comment, regular files 0644.
So equal entries in equal order are equal bytes on any machine. Any `unzip` reads it.

Read: what any tool stored without compression. The end record has to be the last 22 bytes (no comment), every
entry lies before the directory, nothing is compressed, encrypted or named twice. Numbers are checked before
anything is read or allocated; sizes that lie are refused. Names are not paths here: nothing is unpacked.

Source: PKWARE APPNOTE 6.3.10, sections 4.3 to 4.5.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from pearrt.bundle.path_rules import shown
from pearrt.errors import LimitExceeded, ProtocolViolation

MAX_ENTRIES = 1 << 18
MAX_DIRECTORY_BYTES = 64 << 20
MAX_NAME_BYTES = 256

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_LOCATOR_MAGIC, _END64_MAGIC = b"PK\x06\x07", b"PK\x06\x06"
_ZIP64_EXTRA = 1
_U16, _U32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED = 0x41 | 0x2000  # traditional, strong, and of the directory itself
_MADE_BY_UNIX, _NEEDS, _NEEDS_64 = 3 << 8 | 20, 20, 45
_MODE = 0o100644 << 16
_TIME, _DATE = 0, 1 << 5 | 1  # 1980-01-01 00:00, the first that the format knows


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored file: where its local header begins, its size in bytes and its CRC-32."""

    offset: int
    size: int
    crc: int


class StoredZipWriter:
    """Writes entries to `stream`, which begins empty, in the order in which they are added; then `finish`."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._at = 0
        self._entries: list[tuple[bytes, Entry]] = []

    def add(self, name: str, data: bytes) -> None:
        """One entry of less than 4 GiB. Raises LimitExceeded past the bounds that the reader keeps."""
        raw = name.encode("ascii")
        if len(self._entries) >= MAX_ENTRIES or len(raw) > MAX_NAME_BYTES or len(data) >= _U32:
            raise LimitExceeded(f"The archive would hold more than {MAX_ENTRIES} files or one too large.")
        entry = Entry(self._at, len(data), zlib.crc32(data))
        fields = (_NEEDS, 0, 0, _TIME, _DATE, entry.crc, entry.size, entry.size, len(raw), 0)
        self._write(_LOCAL.pack(_LOCAL_MAGIC, *fields), raw, data)
        self._entries.append((raw, entry))

    def finish(self) -> None:
        """Writes the directory."""
        begin = self._at
        for name, entry in self._entries:
            far = entry.offset >= _U32
            extra = struct.pack("<2HQ", _ZIP64_EXTRA, 8, entry.offset) if far else b""
            needs = _NEEDS_64 if far else _NEEDS
            fields = (_MADE_BY_UNIX, needs, 0, 0, _TIME, _DATE, entry.crc, entry.size, entry.size)
            lengths = (len(name), len(extra), 0, 0, 0, _MODE, _U32 if far else entry.offset)
            self._write(_CENTRAL.pack(_CENTRAL_MAGIC, *fields, *lengths), name, extra)
        self._end(begin, self._at - begin, len(self._entries))

    def _end(self, begin: int, size: int, count: int) -> None:
        if count >= _U16 or begin >= _U32 or size >= _U32:
            at = self._at
            record = (_MADE_BY_UNIX | 45, _NEEDS_64, 0, 0, count, count, size, begin)
            self._write(_END64.pack(_END64_MAGIC, _END64.size - 12, *record))
            self._write(_LOCATOR.pack(_LOCATOR_MAGIC, 0, at, 1))
        count, size, begin = min(count, _U16), min(size, _U32), min(begin, _U32)
        self._write(_END.pack(_END_MAGIC, 0, 0, count, count, size, begin, 0))

    def _write(self, *parts: bytes) -> None:
        for part in parts:
            self._stream.write(part)
            self._at += len(part)


class StoredZip:
    """The archive in the seekable `stream`. Raises ProtocolViolation or LimitExceeded for any other file."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        size = stream.seek(0, 2)
        self._count, self._length, self._begin = self._find_directory(size)

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Every name with its entry, folders left out; no name twice. Read as it goes: memory stays the
        caller's."""
        self._stream.seek(self._begin)
        left, names = self._length, set()
        for _ in range(self._count):
            head = self._read(min(left, _CENTRAL.size), _CENTRAL.size)
            fields = _CENTRAL.unpack(head)
            magic, flags, method, crc, packed, size = fields[0], fields[3], fields[4], *fields[7:10]
            name_size, extra_size, comment_size, disk, offset = *fields[10:14], fields[16]
            variable = name_size + extra_size + comment_size
            left -= _CENTRAL.size + variable
            if magic != _CENTRAL_MAGIC or left < 0 or disk or name_size > MAX_NAME_BYTES:
                raise _damaged("an entry of its directory is none")
            rest = self._read(variable, variable)
            name = rest[:name_size].decode("ascii", "backslashreplace")
            size, packed, offset = _wide(rest[name_size : name_size + extra_size], size, packed, offset)
            if flags & _ENCRYPTED or method != 0 or packed != size:
                raise ProtocolViolation(f"The archive's entry {shown(name)} is compressed or encrypted.")
            if offset + _LOCAL.size + name_size + size > self._begin:
                raise _damaged(f"{shown(name)} would lie beyond its end")
            if name in names:
                raise ProtocolViolation(f"The archive names {shown(name)} twice.")
            names.add(name)
            if not name.endswith("/"):
                yield name, Entry(offset, size, crc)
        if left:
            raise _damaged("its directory is longer than it states")

    def read(self, entry: Entry, *, check: bool = True) -> bytes:
        """The content; whoever knows its digest needs no `check` of the CRC-32. Bound `entry.size` first."""
        self._stream.seek(entry.offset)
        fields = _LOCAL.unpack(self._read(_LOCAL.size, _LOCAL.size))
        begin = entry.offset + _LOCAL.size + fields[9] + fields[10]
        if fields[0] != _LOCAL_MAGIC or begin + entry.size > self._begin:
            raise _damaged("an entry is not where its directory says")
        self._stream.seek(begin)
        data = self._read(entry.size, entry.size)
        if check and zlib.crc32(data) != entry.crc:
            raise _damaged("an entry's checksum does not fit")
        return data

    def _find_directory(self, size: int) -> tuple[int, int, int]:
        """(entries, bytes, offset) of the directory, within the file and the bounds."""
        if size < _END.size:
            raise ProtocolViolation("This is no archive: it is too short.")
        self._stream.seek(size - _END.size)
        magic, disk, first, here, count, length, begin, comment = _END.unpack(
            self._read(_END.size, _END.size)
        )
        if magic != _END_MAGIC or comment or disk or first or here != count:
            raise ProtocolViolation("This is no archive of this kind: it does not end as one.")
        end = size - _END.size
        if count == _U16 or _U32 in (length, begin):
            count, length, begin, end = self._find_directory64(end)
        if count > MAX_ENTRIES or length > MAX_DIRECTORY_BYTES:
            raise LimitExceeded(
                f"The archive lists {count} files in {length} bytes;"
                f" at most {MAX_ENTRIES} in {MAX_DIRECTORY_BYTES} are allowed."
            )
        if begin + length != end or count * _CENTRAL.size > length:
            raise _damaged("its directory is not where its end says")
        return count, length, begin

    def _find_directory64(self, end: int) -> tuple[int, int, int, int]:
        if end < _LOCATOR.size + _END64.size:
            raise _damaged("its 64-bit end is missing")
        self._stream.seek(end - _LOCATOR.size)
        magic, disk, at, disks = _LOCATOR.unpack(self._read(_LOCATOR.size, _LOCATOR.size))
        if magic != _LOCATOR_MAGIC or disk or disks > 1 or at + _END64.size != end - _LOCATOR.size:
            raise _damaged("its 64-bit end is missing")
        self._stream.seek(at)
        fields = _END64.unpack(self._read(_END64.size, _END64.size))
        if fields[0] != _END64_MAGIC or fields[4] or fields[5] or fields[6] != fields[7]:
            raise _damaged("its 64-bit end is another")
        return fields[7], fields[8], fields[9], at

    def _read(self, size: int, wanted: int) -> bytes:
        data = self._stream.read(size)
        if len(data) != wanted:
            raise _damaged("it is cut off")
        return data


def _wide(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Sizes and offset with the 64-bit ones from the extra field in their places (4.5.3)."""
    values = [size, packed, offset]
    if _U32 not in values:
        return size, packed, offset
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        field, at = extra[at + 4 : at + 4 + length], at + 4 + length
        if kind == _ZIP64_EXTRA and len(field) == length and length % 8 == 0:
            numbers = iter(struct.unpack(f"<{length // 8}Q", field))
            values = [next(numbers, _U32) if value == _U32 else value for value in values]
            return values[0], values[1], values[2]
    raise _damaged("a 64-bit size is missing")


def _damaged(why: str) -> ProtocolViolation:
    return ProtocolViolation(f"The archive is damaged: {why}.", hint="Copy or download it again.")
