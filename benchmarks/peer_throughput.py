"""One peer connection between two processes: decrypt, SHA-256, write to a file; beside plain TCP.

    python benchmarks/peer_throughput.py [--mib 1024] [--rounds 3] [--directory DIR] [--no-aes]

The receiver asks for 256 KiB blocks, 16 in flight, and hashes and writes each in a worker thread. The
baseline moves as many bytes through asyncio without encryption: streams alone, then a BufferedProtocol that
hashes and writes. Every line is the best of `--rounds` rounds: MB/s (10^6 bytes), then the CPU seconds that
the receiving and the sending process spent per GB, which a busy machine disturbs less. The file goes to a
memory file system where there is one: disks are measured elsewhere.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from pearrt.crypto import noise
from pearrt.errors import PearrtError
from pearrt.peer.handshake import Handshake
from pearrt.peer.link import PeerLink
from pearrt.peer.messages import Address, Block, Message, Request
from pearrt.peer.service import PeerService

BLOCK_BYTES = 256 * 1024
IN_FLIGHT = 16
PATTERN = [os.urandom(BLOCK_BYTES) for _ in range(8)]


class Seeder:
    """Answers REQUESTs, one block at a time."""

    def __init__(self) -> None:
        self.queue: list[bytes] = []

    def message_received(self, link: PeerLink, message: Message) -> None:
        if isinstance(message, Request):
            self.queue.extend(message.ids)
            self.link_ready(link)

    def link_ready(self, link: PeerLink) -> None:
        while self.queue and link.can_send:
            id_ = self.queue.pop(0)
            link.send(Block(id_, PATTERN[int.from_bytes(id_) % len(PATTERN)]))

    def link_lost(self, link: PeerLink, error: PearrtError | None) -> None:
        pass


class Receiver:
    """Requests `blocks` blocks and hashes and writes each in a thread."""

    def __init__(self, blocks: int, file_descriptor: int) -> None:
        self.blocks = blocks
        self.asked = 0
        self.stored = 0
        self.done = asyncio.get_running_loop().create_future()
        self.file_descriptor = file_descriptor
        self.pool = ThreadPoolExecutor(1)
        self.loop = asyncio.get_running_loop()

    def ask(self, link: PeerLink, count: int) -> None:
        count = min(count, self.blocks - self.asked)
        if count > 0:
            link.send(Request(1, tuple((self.asked + n).to_bytes(32) for n in range(count))))
            self.asked += count

    def message_received(self, link: PeerLink, message: Message) -> None:
        if isinstance(message, Block):
            future = self.pool.submit(self.store, message)
            future.add_done_callback(lambda _: self.loop.call_soon_threadsafe(self.was_stored, link))

    def store(self, block: Block) -> None:
        hashlib.sha256(block.data).digest()
        os.pwrite(self.file_descriptor, block.data, int.from_bytes(block.id) * BLOCK_BYTES)

    def was_stored(self, link: PeerLink) -> None:
        self.stored += 1
        self.ask(link, 1)
        if self.stored == self.blocks:
            self.done.set_result(None)

    def link_ready(self, link: PeerLink) -> None:
        pass

    def link_lost(self, link: PeerLink, error: PearrtError | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("closed"))


def without_aes() -> None:
    """Makes this process behave like one on a CPU without AES instructions."""
    noise.AESGCM_SHA256.cipher.available = False
    defaults = Handshake.__init__.__kwdefaults__
    assert defaults is not None
    defaults["aes"] = False


def seed_peer(pipe: Pipe) -> None:
    async def main() -> None:
        def on_link(link: PeerLink) -> None:
            link.receiver = Seeder()

        service = PeerService(
            identity_seed=os.urandom(32), bind=("127.0.0.1", 0), agent="seeder", on_link=on_link
        )
        async with service:
            pipe.send(service.address)
            await asyncio.to_thread(pipe.recv)

    asyncio.run(main())
    pipe.send(time.process_time())


async def fetch_peer(address: Address, blocks: int, file_descriptor: int) -> float:
    receiver = Receiver(blocks, file_descriptor)

    def on_link(link: PeerLink) -> None:
        link.receiver = receiver

    service = PeerService(identity_seed=os.urandom(32), bind=[], agent="receiver", on_link=on_link)
    async with service:
        link = await service.connect(address)
        start = time.perf_counter()
        receiver.ask(link, IN_FLIGHT)
        await receiver.done
        elapsed = time.perf_counter() - start
    receiver.pool.shutdown()
    return elapsed


def seed_plain(pipe: Pipe) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(int(await reader.readline())):
            writer.write(PATTERN[number % len(PATTERN)])
            await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname())
        await asyncio.to_thread(pipe.recv)
        server.close()

    asyncio.run(main())
    pipe.send(time.process_time())


async def fetch_streams(address: Address, blocks: int, file_descriptor: int) -> float:
    reader, writer = await asyncio.open_connection(*address)
    start = time.perf_counter()
    writer.write(b"%d\n" % blocks)
    while await reader.read(BLOCK_BYTES):
        pass
    elapsed = time.perf_counter() - start
    writer.close()
    return elapsed


class PlainReceiver(asyncio.BufferedProtocol):
    """Fills one buffer per block; a thread hashes and writes it."""

    def __init__(self, blocks: int, file_descriptor: int) -> None:
        self.blocks = blocks
        self.file_descriptor = file_descriptor
        self.buffer = memoryview(bytearray(BLOCK_BYTES))
        self.filled = 0
        self.number = 0
        self.pool = ThreadPoolExecutor(1)
        self.ended = asyncio.get_running_loop().create_future()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer[self.filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self.filled += nbytes
        if self.filled == BLOCK_BYTES:
            self.pool.submit(self.store, self.buffer, self.number)
            self.number += 1
            self.buffer = memoryview(bytearray(BLOCK_BYTES))
            self.filled = 0

    def store(self, data: memoryview, number: int) -> None:
        hashlib.sha256(data).digest()
        os.pwrite(self.file_descriptor, data, number * BLOCK_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(None)


async def fetch_plain(address: Address, blocks: int, file_descriptor: int) -> float:
    loop = asyncio.get_running_loop()
    transport, receiver = await loop.create_connection(
        lambda: PlainReceiver(blocks, file_descriptor), *address
    )
    start = time.perf_counter()
    transport.write(b"%d\n" % blocks)
    await receiver.ended
    receiver.pool.shutdown()
    assert receiver.number == blocks
    return time.perf_counter() - start


Fetch = Callable[[Address, int, int], Coroutine[None, None, float]]


def measure(
    seed: Callable[[Pipe], None], fetch: Fetch, blocks: int, directory: str | None, rounds: int
) -> tuple[float, float, float]:
    """Best MB/s, CPU seconds per GB of the receiver and of the sender."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=seed, args=(theirs,))
    process.start()
    address = ours.recv()
    best = 0.0
    cpu = time.process_time()
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=directory) as folder:
            file_descriptor = os.open(Path(folder) / "received", os.O_RDWR | os.O_CREAT)
            elapsed = asyncio.run(fetch(address, blocks, file_descriptor))
            os.close(file_descriptor)
        best = max(best, blocks * BLOCK_BYTES / elapsed / 1e6)
    gigabytes = rounds * blocks * BLOCK_BYTES / 1e9
    cpu = time.process_time() - cpu
    ours.send("end")
    sender_cpu = ours.recv()
    process.join()
    return best, cpu / gigabytes, sender_cpu / gigabytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", default="/dev/shm" if os.path.isdir("/dev/shm") else None)
    parser.add_argument("--no-aes", action="store_true", help="as on a CPU without AES: ChaCha20-Poly1305")
    options = parser.parse_args()
    if options.no_aes:
        without_aes()
    blocks = options.mib * 1024 * 1024 // BLOCK_BYTES
    cases: list[tuple[str, Callable[[Pipe], None], Fetch]] = [
        ("plain TCP, asyncio streams, nothing else", seed_plain, fetch_streams),
        ("plain TCP, BufferedProtocol, SHA-256, write", seed_plain, fetch_plain),
        (
            f"pearrt peer, {'AES-256-GCM' if noise.AESGCM_SHA256.cipher.available else 'ChaCha20-Poly1305'},"
            " SHA-256, write",
            seed_peer,
            fetch_peer,
        ),
    ]
    for name, seed, fetch in cases:
        speed, receiver, sender = measure(seed, fetch, blocks, options.directory, options.rounds)
        print(f"{name:52}{speed:6.0f} MB/s   CPU s/GB {receiver:5.2f} + {sender:4.2f}", flush=True)


if __name__ == "__main__":
    main()
