"""A peer that serves an app but tampers with what it serves: real sockets, real handshake, false bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from pearrt.link import Link, topic_of
from pearrt.store.service import Store
from pearrt.trust.metadata_set import MetadataSet
from tests.support.in_thread import InThread
from tests.support.swarm_apps import serving

Tamper = Callable[[bytes], bytes]


class TamperingStore(Store):
    """Reads blocks that another store wrote, and changes them on the way out."""

    def __init__(self, root: Path, tamper: Callable[[bytes, bytes], bytes]) -> None:
        super().__init__(root, read_only=True)
        self.tamper = tamper

    def get(self, block_id: bytes) -> bytes:
        return self.tamper(block_id, super().get(block_id))


class StandingApp:
    """An app whose metadata never changes, whatever it hears."""

    def __init__(self, link: Link, metadata: bytes) -> None:
        self.topic = topic_of(link.app_key)
        self.raw = metadata
        self.decoded = MetadataSet.decode(metadata)

    def timestamp(self) -> bytes | None:
        return self.decoded.timestamp

    def consider_timestamp(self, raw: bytes) -> bool:
        return False

    def proof(self) -> bytes | None:
        return None

    def consider_proof(self, raw: bytes) -> bool:
        return False

    def metadata_from(self, first_root: int) -> bytes | None:
        return self.raw


class HostileSeeder(InThread):
    """A context manager; `host` is what `--host` wants. `bundles` is index digest -> (index blocks,
    blocks)."""

    def __init__(
        self,
        link: str,
        metadata: bytes,
        store: Path,
        bundles: dict[bytes, tuple[list[bytes], list[bytes]]],
        tamper: Callable[[bytes, bytes], bytes] = lambda _, data: data,
    ) -> None:
        super().__init__()
        self.app = StandingApp(Link.parse(link), metadata)
        self.store = TamperingStore(store, tamper)
        self.bundles = bundles
        self.host = ""

    @asynccontextmanager
    async def service(self) -> AsyncIterator[None]:
        with self.store:
            async with serving(self.store) as peer:
                members = await peer.swarm.join(self.app)
                for digest, (index_blocks, blocks) in self.bundles.items():
                    members.set_bundle(digest, blocks, index_blocks=index_blocks)
                self.host = "{}:{}".format(*peer.address)
                yield
