"""The set as it lies on disk and travels."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pearrt.trust.metadata_set import MetadataSet
from tests.support.repository import Repository

blobs = st.binary(max_size=60)
sets = st.builds(MetadataSet, st.lists(blobs, max_size=5).map(tuple), blobs, blobs, blobs)


@given(sets)
def test_what_is_encoded_decodes_to_itself(metadata: MetadataSet) -> None:
    assert MetadataSet.decode(metadata.encode()) == metadata


@given(sets, st.integers(0, 7), st.integers(0, 600))
def test_a_part_is_consecutive_roots_and_fits(metadata: MetadataSet, first: int, max_bytes: int) -> None:
    part = metadata.since(first, max_bytes)
    start = max(0, first - 1)
    assert part.roots == metadata.roots[start : start + len(part.roots)]
    assert (part.timestamp, part.snapshot, part.targets) == (
        metadata.timestamp,
        metadata.snapshot,
        metadata.targets,
    )
    if part.roots:
        assert len(part.encode()) <= max_bytes


def test_as_many_roots_as_fit_are_served() -> None:
    metadata = Repository().rotate(("ada", "bob", "cyd"), 2, times=5).release("1").metadata()
    assert metadata.since(1, 1 << 20) == metadata
    assert len(metadata.since(3, 1 << 20).roots) == 4
    assert metadata.since(7, 1 << 20).roots == ()
    assert 0 < len(metadata.since(1, 8000).roots) < 6
