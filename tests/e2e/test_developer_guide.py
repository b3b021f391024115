"""The guide for who writes apps, followed to the letter: its files, its commands, in its order."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pearrt.paths import Home
from tests.support.machine import PEARRT, Machine
from tests.support.require import require

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]
GUIDE = Path(__file__).parents[2] / "docs/guides/app-developer.md"
ASKS = ("keys new", "app new", "release publish")  # for a password, where it is not in a file
ANSWERS_YES = "run LINK"


@pytest.fixture
def machine(new_home: Callable[[], Home]) -> Iterator[Machine]:
    require("bwrap")
    machine = Machine(new_home())
    yield machine
    machine.stop()


def steps() -> Iterator[tuple[str, str]]:
    """Of the section of ten minutes: the text before a block, and the block."""
    section = GUIDE.read_text().split("## Ten minutes\n")[1].split("\n## ")[0]
    for before, block in re.findall(r"^(\S.*)\n\n((?:    .*\n|\n(?=    ))+)", section, re.MULTILINE):
        yield before, re.sub(r"^    ", "", block, flags=re.MULTILINE)


def test_an_app_is_written_tried_published_and_updated_in_ten_minutes(
    machine: Machine, tmp_path: Path
) -> None:
    (tmp_path / "hello").mkdir()
    (password := tmp_path / "password").write_text("a long password\n")
    said: dict[str, str] = {}
    for before, block in steps():
        if file := re.search(r"`(hello/[\w.]+)`:$", before):
            (tmp_path / file[1]).write_text(block)
            continue
        if edit := re.search(r'`version = "(.+?)"`', before):
            settings = tmp_path / "hello/pearrt.toml"
            settings.write_text(settings.read_text().replace("1.0", edit[1]))
        for line in block.splitlines():
            command = shlex.split(line)[1:]
            words = [said.get(word, word) for word in command]
            if " ".join(command).startswith(ANSWERS_YES):
                words.insert(1, "--yes")
            if " ".join(words).startswith(ASKS):
                words += ["--password-file", str(password)]
            done = subprocess.run(
                [*PEARRT, *words],
                env=machine.environ,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, (line, done.stderr)
            said[{"app": "LINK", "stage": "BUNDLE"}.get(words[0], line)] = done.stdout.strip()
    assert said["pearrt run ./hello Ann"] == "Hello Ann, visit 1, by version 1.0."
    assert said["pearrt run LINK Ann"] == "Hello Ann, visit 2, by version 1.1."
