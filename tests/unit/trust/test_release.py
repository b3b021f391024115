"""A release says the same on both sides of the signature."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearrt.errors import ProtocolViolation
from pearrt.trust.release import Release
from pearrt.trust.shape import Shape, time_text

words = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,31}", fullmatch=True)
digests = st.binary(min_size=32, max_size=32)
releases = st.builds(
    Release,
    channel=names,
    platform=names,
    name=words,
    version=words,
    sequence=st.integers(1, 2**53 - 1),
    index_digest=digests,
    index_size=st.integers(0, 1 << 26),
    index_blocks=st.lists(digests, max_size=4).map(tuple),
    notes=st.lists(words, max_size=3).map("\n".join),
    released_at=st.integers(0, 200_000_000_000).map(float),
)


@given(releases)
def test_what_a_release_writes_it_reads(release: Release) -> None:
    assert Release.parse(release.path, Shape(release.as_target(), "release"), release.sequence) == release


@given(st.integers(0, 253402300799))
def test_a_time_has_one_spelling(seconds: int) -> None:
    text = time_text(seconds)
    if text >= "1000":
        assert Shape({"at": text}, "it").time("at") == seconds


@pytest.mark.parametrize(
    "path", ["stable", "stable/any/x", "Stable/any", "/any", "stable/", "../any", "a b/c", "deltas/x/y"]
)
def test_targets_of_another_kind_are_left_alone(path: str) -> None:
    assert Release.parse(path, Shape({"length": 1, "hashes": {"sha256": "0" * 64}}, "target"), 1) is None


@pytest.mark.parametrize(
    "target", [{}, {"length": 1}, {"length": 1, "hashes": {"sha256": "0"}}, {"length": 1.0}]
)
def test_targets_of_another_kind_have_length_and_hash_nevertheless(target: dict[str, object]) -> None:
    with pytest.raises(ProtocolViolation):
        Release.parse("deltas/x/y", Shape(target, "target"), 1)
