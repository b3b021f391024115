"""Reading blocks to serve: those that are gone are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pearrt.crypto.hashes import sha256
from pearrt.errors import NoPeers
from pearrt.peer.pool import BufferPool
from pearrt.store.service import Store
from tests.support.swarm_apps import Bundle, FakeApp, running_peer


def test_what_is_read_at_once_is_the_block_or_nothing(tmp_path: Path) -> None:
    data = b"block" * 1000
    with Store(tmp_path) as store:
        assert store.get_now(sha256(data), BufferPool().take) is None
        store.put(sha256(data), data)
        assert store.get_now(sha256(data), BufferPool().take) in (data, None)
    with Store(tmp_path) as store:
        assert store.get_now(sha256(data), BufferPool().take) is None  # not verified in this process yet
        store.get(sha256(data))
        assert store.get_now(sha256(data), BufferPool().take) in (data, None)


async def test_a_block_that_the_store_lost_is_refused_and_fetched_elsewhere(tmp_path: Path) -> None:
    bundle = Bundle.make(3)
    async with (
        running_peer(tmp_path / "damaged") as damaged,
        running_peer(tmp_path / "whole") as whole,
        running_peer(tmp_path / "asker") as asker,
    ):
        for peer in (damaged, whole):
            bundle.put_into(peer.store)
            (await peer.swarm.join(FakeApp())).set_bundle(bundle.digest, bundle.ids)
        damaged.store.gc()
        leecher = await asker.swarm.join(FakeApp())
        leecher.set_bundle(bundle.digest, bundle.ids)
        leecher.add_peer(damaged.address)
        await leecher.wait_for_peer(5)
        with pytest.raises(NoPeers):
            await leecher.fetch(bundle.refs, patience_s=0.3)
        leecher.add_peer(whole.address)
        await leecher.fetch(bundle.refs)
        assert leecher.bytes_from.keys() == {whole.peers.peer_id}
