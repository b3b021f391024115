"""Mirrors as sources: what is fetched, and what a bad mirror may not do."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from pearrt.bundle.index import BLOCK_BYTES
from pearrt.errors import DigestMismatch, LimitExceeded, PeerTimeout, ProtocolViolation, Unreachable
from pearrt.gateway import mirror as mirror_module
from pearrt.gateway.asking import NotThere
from pearrt.gateway.mirror import Mirror
from pearrt.gateway.service import view_factory
from tests.support.peers import peer
from tests.unit.gateway.test_view import BLOCK, BLOCK_ID, KEY, METADATA, Source


async def test_a_peers_view_is_a_mirror() -> None:
    async with (
        peer(http_factory=view_factory(Source())) as service,
        Mirror(f"http://127.0.0.1:{service.address[1]}/") as mirror,
    ):
        assert await mirror.metadata(KEY) == METADATA.encode()
        assert await mirror.metadata(KEY, 3) == METADATA.since(3, 1 << 20).encode()
        assert await mirror.block(BLOCK_ID) == BLOCK
        with pytest.raises(NotThere):
            await mirror.block(bytes(32))
        with pytest.raises(NotThere):
            await mirror.metadata(b"x" * 32)


@asynccontextmanager
async def server(answer: Callable[[bytes], bytes]) -> AsyncIterator[str]:
    """An HTTP server that answers each request's first line with raw bytes; b"" keeps silent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            reply = answer(head.split(b"\r\n")[0])
            writer.write(reply)
            if not reply:
                await reader.read()
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        await listening.wait_closed()


def ok(body: bytes, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), headers, body)


def to(location: bytes) -> bytes:
    return b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\nLocation: %s\r\n\r\n" % location


async def test_other_bytes_than_the_blocks_are_refused() -> None:
    async with server(lambda _: ok(b"something else")) as base, Mirror(base) as mirror:
        with pytest.raises(DigestMismatch):
            await mirror.block(BLOCK_ID)


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + bytes(BLOCK_BYTES + 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + bytes(65536) + b"\r\n" * 1
        + (b"10000\r\n" + bytes(65536) + b"\r\n") * 4,
    ],
    ids=["claims", "endless", "chunked"],
)  # fmt: skip
async def test_too_much_is_cut_off(reply: bytes) -> None:
    async with server(lambda _: reply) as base, Mirror(base) as mirror:
        with pytest.raises(LimitExceeded):
            await mirror.block(BLOCK_ID)


async def test_a_compressed_answer_is_not_unpacked() -> None:
    bomb = zlib.compress(bytes(10_000_000))
    async with server(lambda _: ok(bomb, b"Content-Encoding: deflate\r\n")) as base, Mirror(base) as mirror:
        with pytest.raises(DigestMismatch):
            await mirror.block(BLOCK_ID)


@pytest.mark.parametrize(
    "location", [b"http://127.0.0.2/x", b"//127.0.0.3/", b"ftp://127.0.0.1/", b"file:///etc/passwd", b""]
)
async def test_redirects_elsewhere_are_not_followed(location: bytes) -> None:
    async with server(lambda _: to(location)) as base, Mirror(base) as mirror:
        with pytest.raises(ProtocolViolation):
            await mirror.block(BLOCK_ID)


async def test_a_redirect_within_the_mirror_is_followed_a_few_times() -> None:
    small = b"a small block"

    def answer(line: bytes) -> bytes:
        return ok(small) if b"/moved" in line else to(b"/moved")

    async with server(answer) as base, Mirror(base) as mirror:
        assert await mirror.block(hashlib.sha256(small).digest()) == small
    async with server(lambda _: to(b"/again")) as base, Mirror(base) as mirror:
        with pytest.raises(ProtocolViolation):
            await mirror.block(BLOCK_ID)


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
    ],
)
async def test_a_broken_mirror_is_unreachable(reply: bytes) -> None:
    async with server(lambda _: reply) as base, Mirror(base) as mirror:
        with pytest.raises(Unreachable):
            await mirror.block(BLOCK_ID)


async def test_a_silent_mirror_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "READ_TIMEOUT_S", 0.05)
    async with server(lambda _: b"") as base, Mirror(base) as mirror:
        with pytest.raises(PeerTimeout):
            await mirror.block(BLOCK_ID)


async def test_no_mirror_is_unreachable(free_port: Callable[[], int]) -> None:
    async with Mirror(f"http://127.0.0.1:{free_port()}") as mirror:
        with pytest.raises(Unreachable):
            await mirror.metadata(KEY)
