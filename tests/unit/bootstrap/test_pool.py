"""Sources at work: who is used, who is dropped, and that whoever waits always hears."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from bootstrap import pool as pool_module
from bootstrap.pool import Pool
from pearrt.bundle.index import BlockRef
from pearrt.crypto.hashes import sha256
from pearrt.errors import DigestMismatch, Full, LimitExceeded, NoPeers, Unreachable
from pearrt.gateway.asking import NotThere

CONTENT = {sha256(data): data for data in (bytes([number]) * 1000 for number in range(40))}
BLOCKS = [BlockRef(block_id, len(data)) for block_id, data in CONTENT.items()]
KEY = bytes(32)


@dataclass
class Fake:
    """A source that does as told; `give` answers for a block."""

    give: Callable[[BlockRef], bytes] = lambda block: CONTENT[block.id]
    metadata_error: Exception | None = None
    asked: list[BlockRef] = field(default_factory=list)
    busy_for_s: float = 0.0
    aborted: threading.Event = field(default_factory=threading.Event)

    def metadata(self, app_key: bytes, first_root: int = 1) -> bytes:
        if self.metadata_error:
            raise self.metadata_error
        return b"metadata"

    def block(self, block: BlockRef) -> bytes:
        self.asked.append(block)
        return self.give(block)

    def abort(self) -> None:
        self.aborted.set()

    def close(self) -> None:
        pass


def fetched(*sources: Fake) -> dict[bytes, bytes]:
    got: dict[bytes, bytes] = {}
    with Pool(KEY) as pool:
        for number, source in enumerate(sources):
            pool.add(str(number), lambda source=source: source)
        pool.fetch(BLOCKS, got.__setitem__)
    return got


def raising(error: Exception) -> Callable[[BlockRef], bytes]:
    def give(block: BlockRef) -> bytes:
        raise error

    return give


def slowly(block: BlockRef) -> bytes:
    time.sleep(0.002)
    return CONTENT[block.id]


def test_blocks_come_from_several_sources_at_once_and_each_once() -> None:
    first, second = Fake(slowly), Fake(slowly)
    assert fetched(first, second) == CONTENT
    assert first.asked
    assert second.asked
    assert len(first.asked) + len(second.asked) == len(BLOCKS)


@pytest.mark.parametrize("error", [DigestMismatch("x"), LimitExceeded("x"), Unreachable("x"), NotThere("x")])
def test_a_bad_source_does_not_stop_the_others(error: Exception) -> None:
    bad = Fake(raising(error))
    assert fetched(bad, Fake(slowly)) == CONTENT


def test_a_source_that_sends_a_wrong_block_is_not_asked_again() -> None:
    bad = Fake(raising(DigestMismatch("wrong bytes")))
    got: dict[bytes, bytes] = {}
    with Pool(KEY) as pool:
        pool.add("bad", lambda: bad)
        pool.add("good", lambda: Fake(slowly))
        pool.fetch(BLOCKS, got.__setitem__)
        assert len(bad.asked) <= pool_module.CONNECTIONS
        assert "bad (wrong bytes)" in pool.told()
        pool.add("bad", lambda: bad)
        assert set(pool.fetched()) == {"good"}


def test_a_source_that_went_away_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "RETRY_S", 0.05)
    left = [3]

    def connect() -> Fake:
        left[0] -= 1
        return Fake(metadata_error=Unreachable("not yet")) if left[0] else Fake()

    with Pool(KEY) as pool:
        pool.add("late", connect)
        pool.fetch(BLOCKS, lambda *_: None)


def test_nobody_who_has_it_is_an_end_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "LOST_AFTER_S", 0.3)
    refusing = Fake(metadata_error=Unreachable("x:1 cannot be reached: Connection refused."))
    with Pool(KEY) as pool:
        pool.add("x:1", lambda: refusing)
        with pytest.raises(NoPeers) as caught:
            pool.fetch(BLOCKS, lambda *_: None)
    assert "x:1 (Connection refused)" in caught.value.hint


def test_a_full_disk_ends_it_at_once() -> None:
    def put(*_: bytes) -> None:
        raise Full("no space")

    with Pool(KEY) as pool:
        pool.add("0", Fake)
        with pytest.raises(Full):
            pool.fetch(BLOCKS, put)


def test_a_bug_in_a_thread_reaches_the_one_who_waits() -> None:
    with Pool(KEY) as pool:
        pool.add("0", lambda: Fake(raising(ZeroDivisionError())))
        with pytest.raises(ZeroDivisionError):
            pool.fetch(BLOCKS, lambda *_: None)


def test_a_request_that_takes_too_long_is_ended() -> None:
    stuck = Fake(busy_for_s=10_000.0)

    def give(block: BlockRef) -> bytes:
        assert stuck.aborted.wait(5)
        raise Unreachable("aborted")

    stuck.give = give
    assert fetched(stuck, Fake(slowly)) == CONTENT
    assert stuck.aborted.is_set()


def test_only_so_many_places_are_kept_and_used_at_once() -> None:
    with Pool(KEY) as pool:
        for number in range(2 * pool_module.MAX_KNOWN):
            pool.add(str(number), lambda: Fake(metadata_error=Unreachable("no")))
        assert len(pool.told()) == pool_module.MAX_KNOWN
        assert threading.active_count() < pool_module.MAX_SOURCES * pool_module.CONNECTIONS + 10


def test_many_dead_addresses_do_not_hold_up_the_one_that_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "RETRY_S", 0.01)

    def dead() -> Fake:
        time.sleep(0.02)
        return Fake(metadata_error=Unreachable("no"))

    with Pool(KEY) as pool:
        for number in range(pool_module.MAX_KNOWN - 1):
            pool.add(str(number), dead)
        pool.add("alive", Fake)
        began = time.monotonic()
        pool.fetch(BLOCKS, lambda *_: None)
    assert time.monotonic() - began < 10, "each is tried once before any is tried again"
