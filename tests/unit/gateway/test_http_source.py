"""The standard library's client of the HTTP view: what is fetched, and what a bad source may not do."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

import pytest

from pearrt.bundle.index import BlockRef
from pearrt.errors import (
    BadLink,
    DigestMismatch,
    LimitExceeded,
    NetworkError,
    PeerTimeout,
    ProtocolViolation,
    Unreachable,
)
from pearrt.gateway import http_source as module
from pearrt.gateway.asking import NotThere
from pearrt.gateway.http_source import HttpSource
from pearrt.gateway.service import view_factory
from pearrt.link import HostPort
from tests.support.peers import peer
from tests.unit.gateway.test_mirror import ok, server, to
from tests.unit.gateway.test_view import BLOCK, BLOCK_ID, KEY, METADATA, Source

WANTED = BlockRef(BLOCK_ID, len(BLOCK))


async def block_from(base: str) -> bytes:
    source = HttpSource(base)
    try:
        return await asyncio.to_thread(source.block, WANTED)
    finally:
        source.close()


async def test_a_peers_view_is_a_source_and_its_connection_is_kept() -> None:
    async with peer(http_factory=view_factory(Source())) as service:
        source = HttpSource.of_peer(HostPort("127.0.0.1", service.address[1]))
        connections = set()
        for _ in range(3):
            assert await asyncio.to_thread(source.metadata, KEY) == METADATA.encode()
            assert await asyncio.to_thread(source.metadata, KEY, 3) == METADATA.since(3, 1 << 20).encode()
            assert await asyncio.to_thread(source.block, WANTED) == BLOCK
            with pytest.raises(NotThere):
                await asyncio.to_thread(source.block, BlockRef(bytes(32), 5))
            connections.add(source._connection)
        assert len(connections) == 1
        assert source.busy_for_s == 0
        source.close()


async def test_a_kept_connection_that_was_closed_is_opened_again() -> None:
    async with server(lambda _: ok(BLOCK)) as base:  # which closes after each answer without saying so
        source = HttpSource(base)
        assert [await asyncio.to_thread(source.block, WANTED) for _ in range(3)] == [BLOCK] * 3
        source.close()


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (ok(b"x" * len(BLOCK)), DigestMismatch),
        (ok(BLOCK[:-1]), DigestMismatch),
        (ok(BLOCK + b"x"), LimitExceeded),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", LimitExceeded),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + bytes(1 << 20), LimitExceeded),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50000\r\n" + bytes(5 << 16), LimitExceeded),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n" + bytes(99), NetworkError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", NetworkError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nshort" % len(BLOCK), Unreachable),
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", Unreachable),
        (b"garbage\r\n\r\n", Unreachable),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000 + b"\r\n", Unreachable),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", Unreachable),
    ],
)
async def test_what_is_not_the_block_is_refused(reply: bytes, error: type[Exception]) -> None:
    async with server(lambda _: reply) as base:
        with pytest.raises((error, DigestMismatch) if error is NetworkError else error):
            await block_from(base)


@pytest.mark.parametrize(
    "location", [b"http://127.0.0.2/x", b"//127.0.0.3/", b"ftp://127.0.0.1/", b"file:///etc/passwd", b""]
)
async def test_redirects_elsewhere_are_not_followed(location: bytes) -> None:
    async with server(lambda _: to(location)) as base:
        with pytest.raises(ProtocolViolation):
            await block_from(base)


async def test_a_redirect_within_the_host_is_followed_a_few_times() -> None:
    async with server(lambda line: ok(BLOCK) if b"/moved" in line else to(b"/moved")) as base:
        assert await block_from(base) == BLOCK
    async with server(lambda _: to(b"/again")) as base:
        with pytest.raises(ProtocolViolation, match="more than 3"):
            await block_from(base)


async def test_a_silent_source_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_TIMEOUT_S", 0.05)
    async with server(lambda _: b"") as base:
        with pytest.raises(PeerTimeout):
            await block_from(base)


async def test_a_body_that_drips_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_TIMEOUT_S", 0.0)
    async with server(lambda _: ok(BLOCK)) as base:
        with pytest.raises(PeerTimeout):
            await block_from(base)


async def test_a_request_under_way_can_be_ended_from_outside() -> None:
    async with server(lambda _: b"") as base:
        source = HttpSource(base)
        asking = asyncio.ensure_future(asyncio.to_thread(source.block, WANTED))
        while source.busy_for_s == 0 or source._connection is None:
            await asyncio.sleep(0.001)
        source.abort()
        with pytest.raises(Unreachable):
            await asking


async def test_nobody_there_is_unreachable(free_port: Callable[[], int]) -> None:
    with pytest.raises(Unreachable, match="refused"):
        await block_from(f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize(
    "base", ["ftp://x", "http://", "http://[::1", "https:///x", "x", "http://a:0", "http://a\n"]
)
def test_what_is_no_web_address_is_told(base: str) -> None:
    with pytest.raises(BadLink):
        HttpSource(base)


def test_the_digest_is_of_the_block_itself() -> None:
    assert hashlib.sha256(BLOCK).digest() == BLOCK_ID
