"""The docs are true: links lead somewhere, the tests they name exist, generated pages are current."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pearrt.cli.main import cli
from tests.support.require import require

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_TEST = re.compile(r"\b(tests/[\w/.-]+\.py)(?:::(\w+))?")
_FILE = re.compile(r"`((?:pearrt|tests|docs|examples|benchmarks|packaging|bootstrap)/[\w/.-]+\.\w+)`")
_TARGET = re.compile(r"`make ([a-z]+)`")


def _prose(page: Path) -> str:
    """The page without code blocks, whose brackets are no links."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def _broken_links(page: Path) -> Iterator[str]:
    for link in _LINK.findall(_prose(page)):
        if link.startswith(("https://", "http://", "pearrt://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    assert list(_broken_links(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_that_are_named_exist(page: Path) -> None:
    assert [name for name in _FILE.findall(page.read_text()) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_tests_that_are_named_exist(page: Path) -> None:
    def exists(file: str, name: str) -> bool:
        path = ROOT / file
        return path.is_file() and (
            not name or re.search(rf"^\s*(?:async )?def {name}\(", path.read_text(), re.M) is not None
        )

    assert [(file, name) for file, name in _TEST.findall(page.read_text()) if not exists(file, name)] == []


def test_every_guarantee_is_held_by_a_test() -> None:
    text = (ROOT / "docs/threat-model.md").read_text()
    promised = re.findall(r"^\| (G\d+) \|", text, re.MULTILINE)
    held = re.findall(r"^- \*\*(G\d+)\*\* `tests/", text, re.MULTILINE)
    assert promised == [f"G{n + 1}" for n in range(len(promised))]
    assert [number for number in promised if number not in held] == []


def test_generated_pages_are_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs/generate.py", "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"run `make docs`: {done.stderr}"


def test_the_man_page_is_sound_roff() -> None:
    require("groff")
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", "-K", "utf8", ROOT / "packaging/pearrt.1"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stderr == ""


def test_make_targets_that_are_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {target for page in PAGES for target in _TARGET.findall(page.read_text())}
    assert [target for target in named if not re.search(rf"^{target}:", makefile, re.M)] == []


def _typed_commands(page: Path) -> Iterator[list[str]]:
    """What the page tells people to type: words after `pearrt` in code, without variables and comments."""
    text = page.read_text(encoding="utf-8")
    lines = [*re.findall(r"^ {4}(.+)$", text, re.MULTILINE), *re.findall(r"`([^`\n]+)`", text)]
    for line in lines:
        if match := re.match(r"(?:[A-Z_]+=\S+ )*(?:/usr/bin/)?pearrt (?=[a-z-])(.*)", line.split("  #")[0]):
            yield match[1].split()


def _unknown_words(words: list[str]) -> Iterator[str]:
    """Subcommands and options of one command line that the command does not have."""
    command: click.Command = cli
    context = click.Context(cli, info_name="pearrt")
    for word in words:
        name = word.strip("[]").partition("=")[0]
        if isinstance(command, click.Group) and not name.startswith("-"):
            found = command.get_command(context, name)
            if found is None:
                yield name
                return
            command = found
        elif name.startswith("--"):
            options = [option for param in command.get_params(context) for option in param.opts]
            if name not in options:
                yield name


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.parent.name != "reference"], ids=lambda page: page.name
)
def test_what_people_are_told_to_type_exists(page: Path) -> None:
    typed = list(_typed_commands(page))
    assert [(words, unknown) for words in typed for unknown in _unknown_words(words)] == []


def test_commands_are_found_in_pages() -> None:
    """So that the test above does not pass for want of anything to check."""
    assert ["stage", "./my-app"] in list(_typed_commands(ROOT / "docs/guides/publisher.md"))
    assert list(_unknown_words(["rum"])) == ["rum"]
    assert list(_unknown_words(["run", "LINK", "--fast"])) == ["--fast"]


def test_every_decision_is_listed_and_has_its_parts() -> None:
    folder = ROOT / "docs/decisions"
    index = (folder / "README.md").read_text()
    for page in sorted(folder.glob("0*.md")):
        text = page.read_text()
        assert f"({page.name})" in index
        assert [
            head for head in ("## Why", "## Decision", "## What follows", "## Instead of") if head not in text
        ] == []
        assert text.startswith(f"# {page.name[:4]}. ")


def test_the_readme_is_the_packages_description() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["readme"] == "README.md"
    assert "make demo" in (ROOT / "README.md").read_text()
    assert "make test" in (ROOT / "README.md").read_text()


def test_the_number_of_attacks_is_that_of_the_table() -> None:
    total = re.search(r"^(\d+) attacks, ", (ROOT / "docs/sandbox-attacks.md").read_text(), re.MULTILINE)
    assert total is not None
    assert f"[{total[1]} attacks](" in (ROOT / "README.md").read_text()
    assert f"the {total[1]} attacks" in (ROOT / "docs/sandbox.md").read_text()
