"""Where wheels run, by their tags."""

from __future__ import annotations

import pytest

from pearrt.publish.stage_globs import Globs
from pearrt.publish.stage_tags import Support, join, support_of


@pytest.mark.parametrize(
    ("wheels", "support"),
    [
        ([], Support("any", "")),
        ([["py3-none-any"], ["py2-none-any", "py3-none-any"]], Support("any", "")),
        (
            [["cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux2014_x86_64"]],
            Support("linux-x86_64", "==3.11.*"),
        ),
        ([["cp39-abi3-manylinux_2_28_aarch64"], ["py3-none-any"]], Support("linux-aarch64", ">=3.9")),
        ([["py3-none-manylinux_2_17_x86_64"]], Support("linux-x86_64", "")),
        ([["cp312-cp312-musllinux_1_2_x86_64"]], Support("linux-x86_64-musl", "==3.12.*")),
        ([["cp313-cp313t-macosx_11_0_arm64"]], Support("macos-arm64", "==3.13.*")),
        ([["cp311-cp311-win_amd64"]], Support("windows-amd64", "==3.11.*")),
        ([["cp311-none-win32"]], Support("windows-x86", "")),
        (
            [["cp311-cp311-linux_x86_64"], ["cp38-abi3-linux_x86_64"]],
            Support("linux-x86_64", "==3.11.*,>=3.8"),
        ),
        ([["cp311-cp311-plan9_mips"]], Support("this-machine", "==3.11.*")),
        ([["nonsense"], []], Support("any", "")),
    ],
)
def test_support_of_wheels(wheels: list[list[str]], support: Support) -> None:
    assert support_of(wheels, "this-machine") == support


def test_specifiers_join_without_repetition() -> None:
    assert join(">=3.11, <4", ">=3.11,!=3.12.1") == ">=3.11,<4,!=3.12.1"
    assert join("", "") == ""


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.py", "a.py", True),
        ("*.py", "a/b.py", False),
        ("**/*.py", "a.py", True),
        ("**/*.py", "a/b/c.py", True),
        ("src", "src/a/b", True),
        ("src/**", "src/a/b", True),
        ("src/", "src/a", True),
        ("src", "source/a", False),
        ("**/tests", "a/tests/x", True),
        ("**/tests", "tests/x", True),
        ("**/tests", "a/mytests/x", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a.c", "abc", False),
        ("A", "a", False),
    ],
)
def test_patterns(pattern: str, path: str, matches: bool) -> None:
    assert Globs(include=[pattern]).wants(path) is matches
    assert Globs(exclude=[pattern]).wants(path) is not matches
