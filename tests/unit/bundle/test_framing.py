"""Frame boundaries depend on contents alone, and find back into step after a change."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pearrt.bundle.framing import LARGE_BYTES, RUN_BYTES, SLICE_BYTES, Span, plan_frames, spans_of
from pearrt.bundle.index import File


def files(seed: int, count: int, largest: int = 60_000) -> list[File]:
    chosen = random.Random(seed)
    return [
        File(f"f{number}", chosen.randint(1, largest), False, chosen.randbytes(32)) for number in range(count)
    ]


def digests(frames: list[tuple[Span, ...]]) -> set[tuple[bytes, ...]]:
    return {tuple(span.file.sha256 for span in frame) for frame in frames}


@given(st.lists(st.integers(1, 12_000_000), max_size=60), st.integers(0, 9))
def test_frames_partition_the_raw_stream(sizes: list[int], seed: int) -> None:
    chosen = random.Random(seed)
    contents = [File(str(number), size, False, chosen.randbytes(32)) for number, size in enumerate(sizes)]
    frames = list(plan_frames(contents))
    spans = [span for frame in frames for span in frame]
    assert [span.file for span in spans if span.offset == 0] == contents
    for before, after in pairwise(spans):
        ends = before.offset + before.size
        assert (after.file, after.offset) == (before.file, ends) or (
            ends == before.file.size and after.offset == 0
        )
    for frame in frames:
        assert sum(span.size for span in frame) <= max(RUN_BYTES, SLICE_BYTES)
    assert list(spans_of(contents, [sum(span.size for span in frame) for frame in frames])) == frames


def test_small_contents_are_never_cut_and_large_ones_stand_alone() -> None:
    contents = [*files(1, 30), File("big", 10_000_000, False, b"b" * 32), *files(2, 30)]
    for frame in plan_frames(contents):
        if len(frame) > 1:
            assert all(span.size == span.file.size < LARGE_BYTES for span in frame)
        if frame[0].file.path == "big":
            assert len(frame) == 1


def test_one_changed_content_leaves_the_other_frames_alone() -> None:
    before = files(3, 2000)
    old = list(plan_frames(before))
    assert len(old) > 30
    for change in ("replace", "remove", "insert"):
        after = list(before)
        new = File("new", 5000, False, b"n" * 32)
        at = len(after) // 2
        after[at : at + (change != "insert")] = [] if change == "remove" else [new]
        assert len(digests(old) - digests(list(plan_frames(after)))) <= 4


def test_names_do_not_move_boundaries() -> None:
    before = files(4, 500)
    renamed = [File("x" + file.path, file.size, True, file.sha256) for file in before]
    assert digests(list(plan_frames(before))) == digests(list(plan_frames(renamed)))


def test_what_two_bundles_share_by_group_has_the_same_frames_in_both() -> None:
    """However much another group grows between and beside: its bytes never move a boundary of this one."""
    shared = files(5, 300)
    own = [File(f"own{number}", 40_000, False, bytes([number]) * 32) for number in range(90)]
    mixed = [*own[:3], *shared[:150], *own[3:60], *shared[150:], *own[60:]]

    def group(path: str) -> str:
        return "own" if path.startswith("own") else "first" if int(path[1:]) < 150 else "second"

    frames = list(plan_frames(mixed, group))
    assert all(len({group(span.file.path) for span in frame}) == 1 for frame in frames)
    assert digests(list(plan_frames(shared, group))) <= digests(frames)
