"""The mirror view through a real peer port: what it shows, and that it shows nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from pearrt.gateway.service import view_factory
from pearrt.link import encode_key
from pearrt.peer.service import PeerService
from pearrt.trust.metadata_set import MetadataSet
from tests.support.peers import peer

KEY = b"k" * 32
METADATA = MetadataSet(
    (b"root one", b"root two", b"root three"), b"the timestamp", b"the snapshot", b"the targets"
)
BLOCK = os.urandom(262_144)
BLOCK_ID = hashlib.sha256(BLOCK).digest()
APP = f"/pearrt/v1/{encode_key(KEY)}"


class Source:
    """One app with one block."""

    def metadata(self, app_key: bytes) -> MetadataSet | None:
        return METADATA if app_key == KEY else None

    async def block(self, block_id: bytes) -> bytes | None:
        return BLOCK if block_id == BLOCK_ID else None


@asynccontextmanager
async def mirror() -> AsyncIterator[tuple[PeerService, aiohttp.ClientSession]]:
    async with peer(http_factory=view_factory(Source())) as service:
        base = f"http://{service.address[0]}:{service.address[1]}"
        async with aiohttp.ClientSession(base) as session:
            yield service, session


async def test_a_block_is_served_with_its_length_and_may_be_cached_for_ever() -> None:
    async with mirror() as (_, session):
        for _ in range(3):  # on one kept-alive connection
            async with session.get(f"/pearrt/v1/block/{BLOCK_ID.hex()}") as response:
                assert response.status == 200
                assert await response.read() == BLOCK
                assert response.headers["Content-Length"] == str(len(BLOCK))
                assert "immutable" in response.headers["Cache-Control"]
                assert response.headers["ETag"] == f'"{BLOCK_ID.hex()}"'
                assert response.headers["Server"] == "pearrt"


async def test_a_cached_block_is_not_sent_again() -> None:
    async with mirror() as (_, session):
        headers = {"If-None-Match": f'"{BLOCK_ID.hex()}"'}
        async with session.get(f"/pearrt/v1/block/{BLOCK_ID.hex()}", headers=headers) as response:
            assert response.status == 304
            assert await response.read() == b""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata", METADATA.encode()),
        ("metadata?root=1", METADATA.encode()),
        ("metadata?root=3", METADATA.since(3, 1 << 20).encode()),
        ("metadata?root=9", METADATA.since(9, 1 << 20).encode()),
        ("timestamp.json", b"the timestamp"),
        ("snapshot.json", b"the snapshot"),
        ("targets.json", b"the targets"),
        ("1.root.json", b"root one"),
        ("3.root.json", b"root three"),
    ],
)
async def test_metadata_is_served_as_signed(path: str, expected: bytes) -> None:
    async with mirror() as (_, session):
        async with session.get(f"{APP}/{path}") as response:
            assert response.status == 200
            assert await response.read() == expected
            assert ("immutable" in response.headers["Cache-Control"]) == ("root.json" in path)
        async with session.head(f"{APP}/{path}") as response:
            assert response.status == 200
            assert response.headers["Content-Length"] == str(len(expected))
            assert await response.read() == b""


UNKNOWN = [
    "/",
    "/pearrt",
    "/pearrt/v1",
    "/pearrt/v1/",
    "/pearrt/v1/block",
    "/pearrt/v1/block/",
    f"/pearrt/v1/block/{'0' * 64}",
    f"/pearrt/v1/block/{BLOCK_ID.hex().upper()}x",
    f"/pearrt/v1/block/{BLOCK_ID.hex()}?x=1",
    f"/pearrt/v1/block/{BLOCK_ID.hex()}/",
    f"/pearrt/v1/../v1/block/{BLOCK_ID.hex()}",
    f"/pearrt/v1/block/%2e%2e/{BLOCK_ID.hex()}",
    f"//pearrt/v1/block/{BLOCK_ID.hex()}",
    f"{APP}",
    f"{APP}/",
    f"{APP}/0.root.json",
    f"{APP}/4.root.json",
    f"{APP}/01.root.json",
    f"{APP}/root.json",
    f"{APP}/timestamp",
    f"{APP}/timestamp.json?root=1",
    f"{APP}/metadata?root=0",
    f"{APP}/metadata?root=-1",
    f"{APP}/metadata?root=99999999999",
    f"{APP}/metadata?root=1&root=2",
    f"{APP}/metadata?x=1",
    f"/pearrt/v1/{encode_key(b'x' * 32)}/timestamp.json",
    f"/pearrt/v1/{'y' * 55}/timestamp.json",
    f"/pearrt/v2/block/{BLOCK_ID.hex()}",
]


async def test_everything_else_is_not_found_in_the_same_words() -> None:
    """Asked raw, so that no client tidies the path."""
    answers = set()
    async with mirror() as (service, _):
        for path in UNKNOWN:
            reader, writer = await asyncio.open_connection(*service.address)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            assert head.startswith(b"HTTP/1.1 404 "), path
            lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"date:")]
            answers.add((b"\n".join(lines), body))
    assert len(answers) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_nothing_is_taken_in(method: str) -> None:
    async with mirror() as (service, session):
        path = f"/pearrt/v1/block/{BLOCK_ID.hex()}"
        with pytest.raises(aiohttp.ClientError):  # the port does not even speak HTTP then
            await session.request(method, path, data=b"x")
        reader, writer = await asyncio.open_connection(*service.address)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(BLOCK))
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx".encode())
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 404 ")


async def test_peers_and_http_clients_share_the_port() -> None:
    async with mirror() as (service, session), peer() as other:
        link = await other.connect(service.address)
        async with session.get(f"{APP}/timestamp.json") as response:
            assert await response.read() == b"the timestamp"
        assert not link.closed


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET \x00 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET " + b"/" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20000 + b"\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 3000 + b"\r\n",
    ],
)
async def test_malformed_requests_are_answered_with_an_error_and_closed(garbage: bytes) -> None:
    async with mirror() as (service, session):
        reader, writer = await asyncio.open_connection(*service.address)
        writer.write(garbage)
        async with asyncio.timeout(5):
            try:
                answer = await reader.read()
            except ConnectionError:
                answer = b""
        writer.close()
        assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
        assert len(answer) < 1000
        async with session.get(f"{APP}/timestamp.json") as response:
            assert response.status == 200
