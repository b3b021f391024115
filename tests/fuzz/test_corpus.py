"""Everything that fuzzing found worth keeping, once more: no input brings out anything but the right
errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("name", TARGETS)
def test_the_kept_corpus_still_passes(name: str) -> None:
    kept = sorted((CORPUS / name).iterdir())
    assert kept, f"no corpus: make fuzz, or python -m tests.fuzz.seeds, for {name}"
    for path in kept:
        try:
            TARGETS[name](path.read_bytes())
        except Exception as e:
            raise AssertionError(f"{name} does not survive {path.name}") from e


@pytest.mark.parametrize("name", TARGETS)
def test_bent_corpus_passes_too(name: str) -> None:
    """Every kept input with a byte changed, removed or doubled, at places that hypothesis draws."""
    kept = [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]

    @settings(max_examples=50, deadline=None)
    @given(st.sampled_from(kept), st.integers(0, 4096), st.integers(0, 255), st.integers(0, 2))
    def bent(data: bytes, at: int, byte: int, width: int) -> None:
        at = at % (len(data) + 1)
        TARGETS[name](data[:at] + bytes([byte]) + data[at + width :])

    bent()
