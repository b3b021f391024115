"""The attack corpus: each attack is first shown to succeed outside the sandbox on this kernel, then to fail
inside, on every tier that runs apps.

`attacks/` holds the attacks. They run once per world (outside or a tier; root or a plain user); the tests
below judge one attack each. An attack that fails outside as well says nothing and is reported as not
applicable.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.sandbox.corpus import ALLOWED, ATTACKS, outcome, themes, worlds

pytestmark = pytest.mark.sandbox


@pytest.mark.parametrize(("mode", "tier"), worlds())
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_that_works_outside_fails_inside(name: str, mode: str, tier: str) -> None:
    inside = outcome(mode, tier)[name]
    assert "gained" not in inside or (name, tier) in ALLOWED, inside
    outside = outcome(mode, None)[name]
    if "refused" in outside:
        pytest.skip(f"not applicable here: fails outside too ({outside['refused']})")


def test_every_attack_has_a_theme_and_a_row_in_the_docs() -> None:
    named = [name for _, names in themes() for name in names]
    assert sorted(named) == sorted(ATTACKS)
    page = (Path(__file__).parents[3] / "docs" / "sandbox-attacks.md").read_text()
    for name in named:
        assert f"| {name.replace('_', ' ')} |" in page, "python -m tests.hostile.sandbox.table"
