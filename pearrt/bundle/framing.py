"""Where frames begin and end: decided by the contents alone, so that unchanged neighbours give identical
frames.

A content of at least `LARGE_BYTES` is sliced on its own, every `SLICE_BYTES`. Smaller contents gather in a
run, in stream order, never cut in the middle; a run closes

- before a large content, and before a content that would take it past `RUN_BYTES`;
- after a content whose digest says so: a chance proportional to its size, once the run holds `MIN_RUN_BYTES`.

The last rule makes the boundaries find back into step after a file was added, removed or changed.

A publisher of several bundles that have much in common may name groups: a run also closes where the group of
the next content is another one, so that what two bundles share is never compressed together with what they do
not.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass

from pearrt.bundle.index import MAX_FRAME_BYTES, File

LARGE_BYTES = 1024 * 1024
MIN_RUN_BYTES = 512 * 1024
MEAN_RUN_BYTES = 1024 * 1024
RUN_BYTES = 2 * 1024 * 1024
SLICE_BYTES = 4 * 1024 * 1024
assert max(RUN_BYTES, SLICE_BYTES) <= MAX_FRAME_BYTES


@dataclass(frozen=True, slots=True)
class Span:
    """`size` bytes of a content, from `offset`."""

    file: File
    offset: int
    size: int


Group = Callable[[str], Hashable]


def plan_frames(contents: Iterable[File], group: Group = lambda path: None) -> Iterator[tuple[Span, ...]]:
    """The spans of each frame, in stream order. `contents` are distinct and not empty; `group` takes a
    path."""
    run: list[Span] = []
    held = 0
    last: Hashable = None
    for file in contents:
        current = group(file.path)
        if run and (current != last or file.size >= LARGE_BYTES or held + file.size > RUN_BYTES):
            yield tuple(run)
            run, held = [], 0
        last = current
        if file.size >= LARGE_BYTES:
            yield from _slices(file)
            continue
        run.append(Span(file, 0, file.size))
        held += file.size
        if held >= MIN_RUN_BYTES and _closes(file):
            yield tuple(run)
            run, held = [], 0
    if run:
        yield tuple(run)


def _closes(file: File) -> bool:
    return int.from_bytes(file.sha256[:4]) * MEAN_RUN_BYTES < file.size << 32


def _slices(file: File) -> Iterator[tuple[Span, ...]]:
    for offset in range(0, file.size, SLICE_BYTES):
        yield (Span(file, offset, min(SLICE_BYTES, file.size - offset)),)


def spans_of(contents: Iterable[File], raw_sizes: Iterable[int]) -> Iterator[tuple[Span, ...]]:
    """The spans of each frame of any valid index, whose boundaries may lie anywhere in the raw stream."""
    stream = iter(contents)
    file: File | None = None
    offset = 0
    for raw_size in raw_sizes:
        spans: list[Span] = []
        left = raw_size
        while left:
            if file is None:
                file, offset = next(stream), 0
            size = min(left, file.size - offset)
            spans.append(Span(file, offset, size))
            left -= size
            offset += size
            if offset == file.size:
                file = None
        yield tuple(spans)
