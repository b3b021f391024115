"""Have-sets: which blocks of one bundle somebody holds.

Bit i stands for ordinal i, the i-th entry of the index's block list. On the wire bit 0 is the top bit of byte
0 (BEP 3's bitfield order) and spare bits at the end are zero; anything else is refused, so that one set has
one form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pearrt.errors import ProtocolViolation

_BITS = tuple(tuple(bit for bit in range(8) if byte & 0x80 >> bit) for byte in range(256))


class HaveSet:
    """A set of ordinals in range(total). `count` is its size; membership and insertion are O(1)."""

    __slots__ = ("_bits", "count", "total")

    def __init__(self, total: int, ordinals: Iterable[int] = ()) -> None:
        self.total = total
        self.count = 0
        self._bits = bytearray((total + 7) // 8)
        for ordinal in ordinals:
            self.add(ordinal)

    @classmethod
    def full(cls, total: int) -> HaveSet:
        """The set of all ordinals."""
        result = cls(total)
        result._bits = bytearray(b"\xff" * (total // 8))
        if total % 8:
            result._bits.append(0xFF00 >> total % 8 & 0xFF)
        result.count = total
        return result

    @classmethod
    def decode(cls, data: bytes | memoryview, total: int) -> HaveSet:
        """From wire form. Raises ProtocolViolation for a wrong length or a spare bit that is set."""
        if len(data) != (total + 7) // 8:
            raise ProtocolViolation(f"bit field of {len(data)} bytes for {total} blocks")
        if total % 8 and data[-1] & 0xFF >> total % 8:
            raise ProtocolViolation("bit field sets bits past its last block")
        result = cls(total)
        result._bits[:] = data
        result.count = int.from_bytes(data).bit_count()
        return result

    def encode(self) -> bytes:
        """Wire form: ceil(total / 8) bytes."""
        return bytes(self._bits)

    def add(self, ordinal: int) -> bool:
        """Adds; says whether it was new. Raises IndexError outside range(total)."""
        if not 0 <= ordinal < self.total:
            raise IndexError(f"block {ordinal} of {self.total}")
        mask = 0x80 >> (ordinal & 7)
        if self._bits[ordinal >> 3] & mask:
            return False
        self._bits[ordinal >> 3] |= mask
        self.count += 1
        return True

    def discard(self, ordinal: int) -> bool:
        """Removes; says whether it was there."""
        if ordinal not in self:
            return False
        self._bits[ordinal >> 3] &= ~(0x80 >> (ordinal & 7)) & 0xFF
        self.count -= 1
        return True

    def __contains__(self, ordinal: int) -> bool:
        return 0 <= ordinal < self.total and bool(self._bits[ordinal >> 3] & 0x80 >> (ordinal & 7))

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        for position, byte in enumerate(self._bits):
            if byte:
                start = position * 8
                for bit in _BITS[byte]:
                    yield start + bit

    def missing(self) -> Iterator[int]:
        """The ordinals that are not in the set, rising."""
        for position, byte in enumerate(self._bits):
            if byte != 0xFF:
                start = position * 8
                for bit in _BITS[~byte & 0xFF]:
                    if start + bit < self.total:
                        yield start + bit

    @property
    def complete(self) -> bool:
        return self.count == self.total

    def copy(self) -> HaveSet:
        result = HaveSet(self.total)
        result._bits[:] = self._bits
        result.count = self.count
        return result
