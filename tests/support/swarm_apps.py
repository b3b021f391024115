"""Real swarm services on loopback, for tests: a peer with its store, and an app made of random blocks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from pearrt.crypto.hashes import sha256
from pearrt.errors import BadSignature, ThresholdNotMet
from pearrt.peer.service import PeerService
from pearrt.store.service import Store
from pearrt.swarm.membership import Membership
from pearrt.swarm.service import SwarmService


@dataclass(frozen=True, slots=True)
class Ref:
    """A block as an index lists it."""

    id: bytes
    size: int


class FakeApp:
    """An app whose timestamps are ordered bytes; those that begin with 0xff don't verify."""

    def __init__(self, name: str = "app", current: bytes | None = None) -> None:
        self.topic = sha256(name.encode())
        self.current = current
        self.metadata = b""
        self.kept_proof: bytes | None = None
        self.asked = 0  # for metadata

    def proof(self) -> bytes | None:
        return self.kept_proof

    def consider_proof(self, raw: bytes) -> bool:
        if raw.startswith(b"false"):
            raise BadSignature("not signed")
        if raw.startswith(b"unknown"):
            raise ThresholdNotMet("other keys")
        self.kept_proof = raw
        return True

    def timestamp(self) -> bytes | None:
        return self.current

    def consider_timestamp(self, raw: bytes) -> bool:
        if raw.startswith(b"\xff"):
            raise BadSignature("not signed")
        return self.current is None or raw > self.current

    def metadata_from(self, first_root: int) -> bytes | None:
        self.asked += 1
        return b"%d:" % first_root + self.metadata if self.metadata else None


@dataclass(frozen=True, slots=True)
class Bundle:
    """Random blocks under a made-up index digest."""

    digest: bytes
    blocks: tuple[tuple[Ref, bytes], ...]

    @classmethod
    def make(cls, count: int, size: int = 4096, seed: int = 1) -> Bundle:
        rng = Random(seed)
        data = [rng.randbytes(size) for _ in range(count)]
        return cls(sha256(b"index %d %d" % (seed, count)), tuple((Ref(sha256(d), len(d)), d) for d in data))

    @property
    def refs(self) -> list[Ref]:
        return [ref for ref, _ in self.blocks]

    @property
    def ids(self) -> list[bytes]:
        return [ref.id for ref, _ in self.blocks]

    def put_into(self, store: Store) -> None:
        for ref, data in self.blocks:
            store.put(ref.id, data)


@dataclass(slots=True)
class Peer:
    store: Store
    peers: PeerService
    swarm: SwarmService

    @property
    def address(self) -> tuple[str, int]:
        return self.peers.address

    async def seed(self, bundle: Bundle) -> Membership:
        """Holds all of the bundle and serves it, in the swarm of `FakeApp()`."""
        bundle.put_into(self.store)
        members = await self.swarm.join(FakeApp())
        members.set_bundle(bundle.digest, bundle.ids)
        return members

    async def meet(self, other: Peer, bundle: Bundle | None = None) -> Membership:
        """Joins the swarm of `FakeApp()`, with the other one to dial; knows of the bundle, where there is
        one, and holds nothing of it."""
        members = await self.swarm.join(FakeApp())
        members.add_peer(other.address)
        if bundle is not None:
            members.set_bundle(bundle.digest, bundle.ids)
        return members


@contextlib.asynccontextmanager
async def running_peer(
    folder: Path, *, finders: tuple[object, ...] = (), psk: bytes = b"", keep: bool = False
) -> AsyncIterator[Peer]:
    """A peer on 127.0.0.1 with its own store under `folder`."""
    folder.mkdir(exist_ok=True)
    memory = folder / "memory" if keep else None
    with Store(folder / "store") as store:
        async with serving(store, finders=finders, memory=memory, psk=psk) as peer:
            yield peer


@contextlib.asynccontextmanager
async def serving(
    store: Store, *, finders: tuple[object, ...] = (), memory: Path | None = None, psk: bytes = b""
) -> AsyncIterator[Peer]:
    """A peer on 127.0.0.1 that gives what is in the store."""
    swarm = SwarmService(store=store, finders=finders, folder=memory)  # type: ignore[arg-type]
    peers = PeerService(
        identity_seed=os.urandom(32),
        bind=("127.0.0.1", 0),
        agent="test",
        on_link=swarm.link_opened,
        psk=psk,
    )
    swarm.attach(peers)
    async with peers, swarm:
        yield Peer(store, peers, swarm)
