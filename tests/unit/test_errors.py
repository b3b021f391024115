"""Errors: stable codes, one exit code per family, a hint where there is a next step."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path

import pytest

from pearrt import errors
from pearrt.errors import PearrtError, error_classes, from_dict

ROOT = Path(__file__).parents[2]
CLASSES = [cls for cls in error_classes() if cls.__module__ == errors.__name__]


def test_codes_are_unique_and_kebab_case() -> None:
    codes = [cls.code for cls in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)


def test_every_class_has_a_code_of_its_own() -> None:
    assert [cls.__name__ for cls in CLASSES if "code" not in vars(cls)] == []


def test_the_codes_that_scripts_rely_on_stay() -> None:
    """Codes and exit codes are an interface: add, never change."""
    families = {cls.code: cls.exit_code for cls in CLASSES if PearrtError in cls.__bases__}
    assert families == {
        "user-error": 2,
        "remote-error": 3,
        "trust-error": 4,
        "network-error": 5,
        "store-error": 6,
        "sandbox-error": 7,
    }
    assert PearrtError.exit_code == 1
    known = """bad-link no-such-app protocol-violation limit-exceeded bad-signature threshold-not-met
        rollback expired
        digest-mismatch equivocation unreachable peer-timeout no-peers store-full store-corrupt store-locked
        sandbox-unsupported denied"""
    assert {cls.code for cls in CLASSES} >= set(known.split())


def test_a_family_shares_its_exit_code() -> None:
    for cls in CLASSES[1:]:
        family = next(base for base in cls.__mro__ if PearrtError in base.__bases__)
        assert cls.exit_code == family.exit_code
        assert 0 < cls.exit_code < 64, "above are sysexits, signals and the codes of apps"


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_survives_the_local_api_and_a_process_border(cls: type[PearrtError]) -> None:
    error = cls("It broke.", hint="Mend it.")
    assert error.as_dict() == {"code": cls.code, "message": "It broke.", "hint": "Mend it."}
    again = from_dict(error.as_dict())
    assert type(again) is cls
    assert again.as_dict() == error.as_dict()
    assert str(pickle.loads(pickle.dumps(error))) == "It broke."


def test_a_class_hint_stands_until_a_better_one_is_given() -> None:
    assert "pearrt list" in errors.NoSuchApp("There is no such app.").hint
    assert errors.NoSuchApp("There is no such app.", hint="Look elsewhere.").hint == "Look elsewhere."
    assert errors.Rollback("Older.").hint == ""


def test_an_unknown_code_gives_the_base_class() -> None:
    error = from_dict({"code": "from-the-future", "message": "New."})
    assert type(error) is PearrtError
    assert error.message == "New."
    assert from_dict({}).message == "unknown error"


def test_the_tree_at_the_top_of_the_file_names_every_class() -> None:
    tree = errors.__doc__ or ""
    assert [
        name for name in (cls.__name__ for cls in CLASSES) if not re.search(rf"^ +{name} {{2}}", tree, re.M)
    ] == []


def test_only_this_file_makes_codes() -> None:
    """A code made elsewhere would turn into a nameless error, exit code 1, beyond the local API."""
    stray = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in (ROOT / "pearrt").rglob("*.py")
        if path.name != "errors.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and _is_error(node) and _sets_code(node)
    ]
    assert stray == []


def _is_error(node: ast.ClassDef) -> bool:
    return bool({ast.unparse(base) for base in node.bases} & {cls.__name__ for cls in CLASSES})


def _sets_code(node: ast.ClassDef) -> bool:
    assigned = [target for item in node.body if isinstance(item, ast.Assign) for target in item.targets]
    return any("code" in re.findall(r"\w+", ast.unparse(target)) for target in assigned)
