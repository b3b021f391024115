"""What is refused when it is staged, as it would be refused at every start."""

from __future__ import annotations

from typing import Any

import pytest

from pearrt.app.stage import check_asked
from pearrt.bundle.manifest import Entry, Manifest
from pearrt.errors import UserError


@pytest.mark.parametrize(
    ("kind", "file", "needed"), [("exec", "tool", "run.native"), ("web", "web/index.html", "ui")]
)
def test_an_app_asks_for_what_its_kind_never_starts_without(kind: str, file: str, needed: str) -> None:
    def asked(permissions: dict[str, Any]) -> Any:
        return check_asked(Manifest("app", "1", Entry(file=file), kind=kind, permissions=permissions))

    with pytest.raises(UserError, match=needed) as refused:
        asked({})
    assert f"`{needed} = true`" in refused.value.hint
    assert needed in asked({needed: True}).optional()


def test_a_permission_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match="storag"):
        check_asked(Manifest("app", "1", Entry(module="app"), permissions={"storag": "1 MiB"}))
