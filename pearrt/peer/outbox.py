"""What a connection has to send, in which order.

Small messages go before queued BLOCKs and are packed together into records; BLOCKs keep their order, one at
a time. So a CANCEL or HAVE waits for at most the one block that is on its way. Small messages that pile up
because the other side does not read are bounded.
"""

from __future__ import annotations

from collections import deque

from pearrt.crypto.noise import CipherState
from pearrt.errors import LimitExceeded
from pearrt.peer import framing, messages
from pearrt.peer.messages import Block, Message
from pearrt.peer.pool import BufferPool

PACK_BYTES = 32 * 1024  # small messages are packed into one piece up to about this size


class Outbox:
    """Two queues, and the cipher that seals what leaves them."""

    __slots__ = (
        "_blocks",
        "_cipher",
        "_control",
        "_max_control_bytes",
        "_pool",
        "block_bytes",
        "control_bytes",
    )

    def __init__(self, cipher: CipherState, max_control_bytes: int, pool: BufferPool | None = None) -> None:
        self._cipher = cipher
        self._pool = pool
        self._max_control_bytes = max_control_bytes
        self._control: deque[bytes] = deque()
        self._blocks: deque[Block] = deque()
        self.control_bytes = 0
        self.block_bytes = 0

    @property
    def blocks(self) -> int:
        """How many BLOCKs wait."""
        return len(self._blocks)

    def put(self, message: Message) -> None:
        """Queues a message. Raises LimitExceeded when the other side lets small messages pile up."""
        if isinstance(message, Block):
            message.head()  # a block that no peer would accept is refused here, where the fault is
            self._blocks.append(message)
            self.block_bytes += len(message.data)
            return
        encoded = messages.encode(message)
        if self.control_bytes + len(encoded) > self._max_control_bytes:
            raise LimitExceeded("The peer does not read what it asked for.")
        self._control.append(encoded)
        self.control_bytes += len(encoded)

    def put_last(self, message: Message) -> None:
        """Queues a small message past the bound: nothing will follow it."""
        self._control.append(messages.encode(message))
        self.control_bytes += len(self._control[-1])

    def drop_block(self, id_: bytes) -> bool:
        """Takes a BLOCK that has not begun to leave back (after CANCEL); whether there was one."""
        for block in self._blocks:
            if block.id == id_:
                self._blocks.remove(block)
                self.block_bytes -= len(block.data)
                return True
        return False

    def clear(self) -> None:
        """Takes everything back that has not begun to leave."""
        self._control.clear()
        self.control_bytes = 0
        self.drop_blocks()

    def drop_blocks(self) -> None:
        """Takes all BLOCKs back that have not begun to leave."""
        self._blocks.clear()
        self.block_bytes = 0

    def pull(self) -> memoryview | None:
        """The next piece for the transport, sealed: some small messages or one BLOCK. None: nothing waits."""
        if self._control:
            packed: list[bytes] = []
            size = 0
            while self._control and size < PACK_BYTES:
                packed.append(self._control.popleft())
                size += len(packed[-1])
            self.control_bytes -= size
            return framing.seal(self._cipher, b"".join(packed))
        if self._blocks:
            block = self._blocks.popleft()
            self.block_bytes -= len(block.data)
            return framing.seal(self._cipher, block.head(), block.data, self._pool)
        return None
