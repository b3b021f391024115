"""Roots that do not fit into one answer of the HTTP view come in several, for either client."""

from __future__ import annotations

import asyncio

from pearrt.gateway.http_source import HttpSource
from pearrt.gateway.mirror import Mirror
from pearrt.gateway.service import view_factory
from pearrt.link import HostPort
from pearrt.trust.metadata_set import MetadataSet
from tests.support.peers import peer
from tests.unit.gateway.test_view import KEY, Source

MANY = MetadataSet(
    tuple(number.to_bytes(4) * 9000 for number in range(1, 81)), b"timestamp", b"snapshot", b"targets"
)


class Rotated(Source):
    def metadata(self, app_key: bytes) -> MetadataSet | None:
        return MANY


async def test_more_roots_than_fit_into_an_answer_come_in_several() -> None:
    async with peer(http_factory=view_factory(Rotated())) as service:
        host, port = service.address
        source = HttpSource.of_peer(HostPort(host, port))
        assert MetadataSet.decode(await asyncio.to_thread(source.metadata, KEY)) == MANY
        assert MetadataSet.decode(await asyncio.to_thread(source.metadata, KEY, 70)).roots == MANY.roots[69:]
        source.close()
        async with Mirror(f"http://{host}:{port}") as mirror:
            assert MetadataSet.decode(await mirror.metadata(KEY)) == MANY
            assert MetadataSet.decode(await mirror.metadata(KEY, 70)).roots == MANY.roots[69:]
