"""A folder of the person's own, run before it is released; and that `--no-sandbox` is for nothing else."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from pearrt.app.local import run_folder
from pearrt.errors import Denied
from pearrt.paths import Home
from tests.e2e.test_kinds import EXAMPLES, Running
from tests.support.machine import PEARRT, Machine
from tests.support.require import require

pytestmark = [pytest.mark.e2e, pytest.mark.sandbox]
SAY = "import os, sys\nprint(os.path.exists('/sys'), sys.argv[1:])\n"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    require("bwrap")
    home = Home.at(tmp_path / "home")
    home.prepare()
    return home


def project(folder: Path, source: str = SAY, more: str = "") -> Path:
    folder.mkdir()
    (folder / "main.py").write_text(source)
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "mine"\nversion = "1"\n[tool.pearrt]\nentry = "main.py"\n{more}'
    )
    return folder


def pearrt(home: Home, *args: object) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PEARRT_HOME": str(home.data)}
    return subprocess.run(
        [*PEARRT, *map(str, args)], env=environ, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_folder_runs_in_the_sandbox_and_needs_no_daemon(home: Home, tmp_path: Path) -> None:
    done = pearrt(home, "run", project(tmp_path / "mine"), "a", "--flag")
    assert (done.returncode, done.stdout) == (0, "False ['a', '--flag']\n"), done.stderr
    assert not home.log.exists()


def test_its_storage_stays_from_run_to_run(home: Home, tmp_path: Path) -> None:
    source = (
        "import pathlib\nf = pathlib.Path('runs')\nf.write_text(f.read_text() + '*' if f.exists() else '*')\n"
    )
    folder = project(tmp_path / "mine", source + "print(f.read_text())\n")
    assert [pearrt(home, "run", folder).stdout for _ in range(2)] == ["*\n", "**\n"]


def test_without_the_sandbox_it_says_so(home: Home, tmp_path: Path) -> None:
    done = pearrt(home, "run", "--no-sandbox", project(tmp_path / "mine"))
    assert (done.returncode, done.stdout) == (0, "True []\n")
    assert "no sandbox" in done.stderr


def test_what_comes_from_others_is_never_run_without_its_sandbox(home: Home, tmp_path: Path) -> None:
    link = "pearrt://yyyoryarywdyqnyjbefoadeqbhebnrounoktcfaadrpbs8y7daxtmhe"
    (tmp_path / "app.pear").write_bytes(b"")
    for target in (link, tmp_path / "app.pear"):
        done = pearrt(home, "run", "--json", "--no-sandbox", target)
        assert json.loads(done.stderr)["error"]["code"] == "user-error"
    assert not home.log.exists()


def test_somebody_elses_folder_is_not_run(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project(tmp_path / "theirs")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    for contained in (True, False):
        with pytest.raises(Denied, match="another user"):
            run_folder(folder, (), home, show=lambda _: None, contained=contained)


@pytest.mark.parametrize("kind", ["web", "exec"])
def test_another_kind_is_run_in_the_sandbox_only(home: Home, kind: str) -> None:
    name = {"web": "web-clock", "exec": "exec-greeting"}[kind]
    done = pearrt(home, "run", "--json", "--no-sandbox", EXAMPLES / name)
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == "sandbox-unsupported"


def test_a_folder_with_a_page_is_shown(home: Home) -> None:
    with Running(Machine(home), str(EXAMPLES / "web-notes")) as browser:
        assert browser.call("/.pearrt/ask", "list") == []
        assert b"notes.js" in browser.get("/").body
