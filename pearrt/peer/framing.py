"""Records and messages: the stream after the handshake.

A record is u16 length + that many bytes of Noise ciphertext (Noise specification, section 3: at most 65,535
bytes, 16 of them the tag). The plaintexts of a direction's records, joined, are a stream of messages.

Copies are what costs here. A record is decrypted where it lies or, when all of it belongs to the body of one
message that has begun, straight into that body, which is then handed over as it is. A record that decrypts to
nothing is refused: it would cost us work and the sender no message.
"""

from __future__ import annotations

from collections.abc import Iterator

from pearrt.crypto.aead import TAG_BYTES
from pearrt.crypto.noise import CipherState
from pearrt.errors import ProtocolViolation
from pearrt.peer import messages
from pearrt.peer.bodies import Buffer
from pearrt.peer.messages import HEADER_BYTES, Message
from pearrt.peer.pool import BufferPool

LENGTH_BYTES = 2
MAX_RECORD_BYTES = 65535
MAX_PLAINTEXT_BYTES = MAX_RECORD_BYTES - TAG_BYTES
FRAME_BYTES = LENGTH_BYTES + MAX_RECORD_BYTES
BUSY_BUFFER_BYTES = 4 * FRAME_BYTES


def seal(cipher: CipherState, head: Buffer, tail: Buffer = b"", pool: BufferPool | None = None) -> memoryview:
    """The records that carry `head`, then `tail`; all but the start of `tail` is encrypted where it lies.

    The result's memory is `pool`'s, which uses it again once nobody holds a view of it.
    """
    total = len(head) + len(tail)
    records = -(-total // MAX_PLAINTEXT_BYTES)
    size = total + records * (LENGTH_BYTES + TAG_BYTES)
    out = pool.take(size) if pool else memoryview(bytearray(size))
    rest = memoryview(tail)
    at = 0
    while head or rest:
        if head and rest:
            room = max(0, MAX_PLAINTEXT_BYTES - len(head))
            head, rest = bytes(head) + rest[:room], rest[room:]
        if not head:
            head, rest = rest, rest[:0]
        plaintext, head = memoryview(head)[:MAX_PLAINTEXT_BYTES], memoryview(head)[MAX_PLAINTEXT_BYTES:]
        body = at + LENGTH_BYTES
        size = cipher.encrypt_into(plaintext, out[body:])
        out[at:body] = size.to_bytes(LENGTH_BYTES)
        at = body + size
    return out


class MessageAssembler:
    """Turns stretches of the plaintext stream into messages.

    Raises ProtocolViolation or LimitExceeded as soon as a header or a body is wrong.
    """

    __slots__ = ("_body", "_filled", "_header", "_pool", "_type")

    def __init__(self, pool: BufferPool) -> None:
        self._pool = pool
        self._header = b""
        self._body: memoryview | None = None
        self._filled = 0
        self._type = 0

    def target(self, size: int) -> memoryview | None:
        """Where the next `size` bytes of the stream belong, if all of them are of one body that has begun."""
        if self._body is None or len(self._body) - self._filled < size:
            return None
        return self._body[self._filled : self._filled + size]

    def filled(self, size: int) -> Message | None:
        """`size` bytes were written to `target`: the message, if it is complete now."""
        assert self._body is not None
        self._filled += size
        if self._filled < len(self._body):
            return None
        body, self._body = self._body, None
        return messages.decode(self._type, body)

    def feed(self, data: memoryview) -> Iterator[Message]:
        """The messages that end within `data`, which is not kept."""
        at, end = 0, len(data)
        while at < end:
            if self._body is not None:
                size = min(end - at, len(self._body) - self._filled)
                self._body[self._filled : self._filled + size] = data[at : at + size]
                at += size
                message = self.filled(size)
                if message is not None:
                    yield message
                continue
            take = min(HEADER_BYTES - len(self._header), end - at)
            self._header += data[at : at + take]
            at += take
            if len(self._header) < HEADER_BYTES:
                return
            self._type, length = messages.check_header(int.from_bytes(self._header))
            self._header = b""
            if end - at >= length:
                yield messages.decode(self._type, bytes(data[at : at + length]))
                at += length
            else:
                self._body = self._pool.take(length)
                self._filled = 0


class RecordReader:
    """The receiving half of a connection: a buffer that the transport fills, and the messages in it.

    Write into `room()`, then tell `received(count)`. The buffer holds one record at first, four once it was
    full: most connections are idle, and fewer, larger reads are what makes a busy one fast.
    """

    __slots__ = ("_assembler", "_buffer", "_busy", "_cipher", "_end", "_start", "record_bytes")

    def __init__(self, cipher: CipherState, pool: BufferPool) -> None:
        self._cipher = cipher
        self._assembler = MessageAssembler(pool)
        self._buffer = memoryview(bytearray(FRAME_BYTES))
        self._busy = False
        self._start = 0  # of what is not parsed yet
        self._end = 0
        self.record_bytes = 0  # plaintext bytes of whole records in the last call of `received`

    def room(self) -> memoryview:
        """The free part of the buffer; never empty."""
        grow = self._busy and len(self._buffer) < BUSY_BUFFER_BYTES
        if grow or len(self._buffer) - self._end < FRAME_BYTES:
            left = bytes(self._buffer[self._start : self._end])
            if grow:
                self._buffer = memoryview(bytearray(BUSY_BUFFER_BYTES))
            self._buffer[: len(left)] = left
            self._start, self._end = 0, len(left)
        return self._buffer[self._end :]

    def received(self, count: int) -> Iterator[Message]:
        """The messages that the last `count` bytes complete. Raises ProtocolViolation or LimitExceeded."""
        self._end += count
        self._busy = self._busy or self._end == len(self._buffer)
        self.record_bytes = 0
        buffer = self._buffer
        while self._end - self._start >= LENGTH_BYTES:
            body = self._start + LENGTH_BYTES
            length = int.from_bytes(buffer[self._start : body])
            if length <= TAG_BYTES:
                raise ProtocolViolation("A record without content.")
            if self._end - body < length:
                break
            self._start = body + length
            yield from self._record(buffer[body : body + length])
        if self._start == self._end:
            self._start = self._end = 0

    def _record(self, record: memoryview) -> Iterator[Message]:
        size = len(record) - TAG_BYTES
        self.record_bytes += size
        target = self._assembler.target(size)
        if target is None:
            self._cipher.decrypt_into(record, record)
            yield from self._assembler.feed(record[:size])
            return
        self._cipher.decrypt_into(record, target)
        message = self._assembler.filled(size)
        if message is not None:
            yield message
