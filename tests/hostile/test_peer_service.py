"""What strangers may do to a listening peer. Each test is one attack; an honest peer still gets in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from pearrt.errors import PearrtError
from pearrt.peer.doorway import NOT_FOUND
from pearrt.peer.handshake import PREAMBLE
from pearrt.peer.limits import PeerLimits
from pearrt.peer.messages import Address
from pearrt.peer.service import PeerService
from tests.support.peers import Recorder, peer

QUICK = PeerLimits(handshake_timeout_s=0.2, http_head_timeout_s=0.2)


@asynccontextmanager
async def stranger(address: Address) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def answer_to(address: Address, data: bytes) -> bytes:
    """All that a stranger gets for these bytes until the connection is closed."""
    async with stranger(address) as (reader, writer), asyncio.timeout(5):
        writer.write(data)
        with suppress(OSError):
            return await reader.read(-1)
        return b""


async def honest_peer_gets_in(service: PeerService) -> None:
    async with peer() as honest:
        link = await honest.connect(service.address)
        assert not link.closed


OTHER_PROTOCOLS = [
    b"\xff" * 64,
    b"\x00",
    b"POST / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00" + bytes(60),
    b"SSH-2.0-x\r\n",
    b"\x13BitTorrent protocol",
]


@pytest.mark.parametrize("data", OTHER_PROTOCOLS)
async def test_other_protocols_are_closed_without_an_answer(data: bytes) -> None:
    async with peer(limits=QUICK) as service:
        assert await answer_to(service.address, data) == b""
        await honest_peer_gets_in(service)


async def test_one_byte_and_silence_is_dropped_in_time() -> None:
    async with peer(limits=QUICK) as service:

        async def dawdle(first: bytes) -> None:
            async with stranger(service.address) as (reader, writer), asyncio.timeout(2):
                writer.write(first)
                with suppress(ConnectionError):
                    assert await reader.read() == b""

        firsts = (b"", b"G", b"GE", PREAMBLE[:1], PREAMBLE + b"\x01\x00\x20")
        await asyncio.gather(*(dawdle(first) for first in firsts))
        assert not service._all
        assert not service._listener.open_doorways


async def test_a_thousand_connections_from_one_address_are_bounded_and_harmless() -> None:
    """Places per address are few: an attacker fills its own and nobody else's, and pays for hanging up."""
    limits = PeerLimits(
        max_connections_per_address=20, connection_burst_per_address=100, connections_per_s_and_address=0
    )
    async with peer(limits=limits) as service:
        writers = []
        most = 0
        for _ in range(1000):
            _, writer = await asyncio.open_connection(*service.address, local_addr=("127.0.0.2", 0))
            writers.append(writer)
            most = max(most, service._listener.open_doorways)
        async with asyncio.timeout(5):
            while service._listener.open_doorways > 20:
                await asyncio.sleep(0)
        assert most < 200  # those being turned away included
        await honest_peer_gets_in(service)
        for writer in writers:
            writer.transport.abort()
        async with asyncio.timeout(5):
            while service._listener.open_doorways:
                await asyncio.sleep(0)
        with suppress(ConnectionError):  # the ration of that address is used up
            reader, writer = await asyncio.open_connection(*service.address, local_addr=("127.0.0.2", 0))
            writer.write(PREAMBLE)
            assert await reader.read() == b""
        writer.close()
        await honest_peer_gets_in(service)


async def test_many_addresses_that_never_finish_a_handshake_do_not_keep_a_peer_out() -> None:
    """With every place taken by handshakes that stand still, the oldest gives way to the newest."""
    async with peer(limits=PeerLimits(max_handshakes=10, max_connections=12)) as service:
        writers = []
        for number in range(30):
            local = (f"127.0.0.{number + 2}", 0)
            _, writer = await asyncio.open_connection(*service.address, local_addr=local)
            writer.write(PREAMBLE)
            writers.append(writer)
        await honest_peer_gets_in(service)
        assert len(service._listener._strangers) <= 10
        for writer in writers:
            writer.close()


async def test_places_are_given_back_whatever_the_end() -> None:
    limits = PeerLimits(max_connections_per_address=2, max_http_connections_per_address=1)
    async with peer(limits=limits) as service:
        bad_suite, long_message = PREAMBLE + b"\x09\x00\x00", PREAMBLE + b"\x01\xff\xff"
        for data in (b"\xff", b"GET / HTTP/1.1\r\n\r\n", bad_suite, long_message):
            for _ in range(5):
                await answer_to(service.address, data)
        for _ in range(5):
            await honest_peer_gets_in(service)
            async with asyncio.timeout(5):
                while service._all:
                    await asyncio.sleep(0)
        assert service._listener._admission._per_address[0].total() == 0


async def test_http_where_there_is_no_view_is_not_found() -> None:
    async with peer() as service:
        for method in (b"GET", b"HEAD"):
            assert await answer_to(service.address, method + b" / HTTP/1.1\r\nHost: x\r\n\r\n") == NOT_FOUND
        await honest_peer_gets_in(service)


class Echo(asyncio.Protocol):
    """Stands for an HTTP server: answers a head with how many bytes it had."""

    def __init__(self) -> None:
        self.data = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        assert self.transport is not None
        while b"\r\n\r\n" in self.data:
            head, _, self.data = self.data.partition(b"\r\n\r\n")
            self.transport.write(b"%d " % len(head))


async def test_http_gets_its_first_bytes_however_they_come() -> None:
    async with (
        peer(http_factory=Echo, limits=QUICK) as service,
        stranger(service.address) as (reader, writer),
        asyncio.timeout(5),
    ):
        for byte in b"GET /x\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert await reader.readuntil(b" ") == b"6 "
        writer.write(b"HEAD /y\r\n\r\n")
        assert await reader.readuntil(b" ") == b"7 "


async def test_a_http_head_that_never_ends_is_dropped() -> None:
    async with peer(http_factory=Echo, limits=QUICK) as service:
        _, writer = await asyncio.open_connection(*service.address)
        writer.write(b"GET / HTTP/1.1\r\n")
        async with asyncio.timeout(5):
            while not writer.transport.is_closing():  # until the other side has had enough
                writer.write(b"X-A: b\r\n")
                await asyncio.sleep(0.02)
        assert not service._listener.open_doorways


class Generous(Echo):
    """Answers with more than a socket holds."""

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(bytes(32 << 20))


async def test_a_http_client_that_never_reads_is_dropped() -> None:
    limits = PeerLimits(http_stall_timeout_s=0.1)
    async with peer(http_factory=Generous, limits=limits) as service:
        _, writer = await asyncio.open_connection(*service.address)
        writer.transport.pause_reading()
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(5):
            while not service._listener.open_doorways:
                await asyncio.sleep(0)
            while service._listener.open_doorways:
                await asyncio.sleep(0.01)
        writer.close()


async def test_http_connections_have_bounds_of_their_own() -> None:
    limits = PeerLimits(max_http_connections_per_address=3)
    async with peer(http_factory=Echo, limits=limits) as service:
        connections = [await asyncio.open_connection(*service.address) for _ in range(6)]
        answers = []
        for reader, writer in connections:
            writer.write(b"GET /\r\n\r\n")
            with suppress(ConnectionError):
                answers.append(await reader.read(2))
        assert [answer for answer in answers if answer] == [b"5 "] * 3
        await honest_peer_gets_in(service)
        for _, writer in connections:
            writer.close()


async def test_a_replayed_recording_of_an_honest_dial_gets_nowhere() -> None:
    theirs = Recorder()
    recorded = bytearray()
    async with peer(theirs) as service:

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            onward = await asyncio.open_connection(*service.address)

            async def forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter, keep: bool) -> None:
                while data := await source.read(4096):
                    if keep:
                        recorded.extend(data)
                    sink.write(data)
                sink.close()

            async with asyncio.TaskGroup() as group:
                group.create_task(forward(reader, onward[1], True))
                group.create_task(forward(onward[0], writer, False))

        middle = await asyncio.start_server(relay, "127.0.0.1", 0)
        async with peer() as honest:
            await honest.connect(middle.sockets[0].getsockname())
            await theirs.wait(lambda: theirs.links)
        await theirs.wait(lambda: theirs.lost)
        middle.close()
        await middle.wait_closed()
        async with stranger(service.address) as (reader, writer), asyncio.timeout(5):
            writer.write(bytes(recorded))
            with suppress(ConnectionError):
                await reader.read()
        assert len(theirs.links) == 1


async def test_a_connection_to_ourselves_through_somebody_else_is_refused() -> None:
    """An attacker who forwards our dial to our own port gains no link."""
    ours = Recorder()
    async with peer(ours) as service:

        async def forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(4096):
                sink.write(data)
            sink.close()

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            back = await asyncio.open_connection(*service.address)
            async with asyncio.TaskGroup() as group:
                group.create_task(forward(reader, back[1]))
                group.create_task(forward(back[0], writer))

        middle = await asyncio.start_server(relay, "127.0.0.1", 0)
        with pytest.raises(PearrtError):
            await service.connect(middle.sockets[0].getsockname())
        middle.close()
        await middle.wait_closed()
        assert not ours.links
