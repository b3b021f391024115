"""Which block is asked of whom."""

from __future__ import annotations

from bootstrap.wanted import SLOW_S, Wanted
from pearrt.bundle.index import BlockRef

BLOCKS = [BlockRef(bytes([number]) * 32, 10) for number in range(4)]


def test_each_block_is_asked_once_while_there_are_others() -> None:
    wanted = Wanted([*BLOCKS, BLOCKS[0]])
    taken = [wanted.take(source, 0.0) for source in "abab"]
    assert taken == BLOCKS
    assert wanted.take("a", 0.0) is None
    assert wanted.total_bytes == 40


def test_a_slow_source_is_helped_by_one_other() -> None:
    wanted = Wanted(BLOCKS[:1])
    assert wanted.take("a", 0.0) == BLOCKS[0]
    assert wanted.take("b", SLOW_S) is None
    assert wanted.take("b", SLOW_S + 1) == BLOCKS[0]
    assert wanted.take("c", SLOW_S + 9) is None
    wanted.done(BLOCKS[0])
    wanted.done(BLOCKS[0])
    assert (wanted.finished, wanted.done_bytes) == (True, 10)
    wanted.give_back("a", BLOCKS[0])
    assert wanted.take("c", 99.0) is None


def test_what_one_gives_back_another_gets() -> None:
    wanted = Wanted(BLOCKS[:1])
    assert wanted.take("a", 0.0)
    wanted.give_back("a", BLOCKS[0], lacks=True)
    assert wanted.take("a", 99.0) is None
    assert wanted.take("b", 99.0) == BLOCKS[0]
    assert wanted.take("a", 999.0) is None, "it said that it lacks it"
