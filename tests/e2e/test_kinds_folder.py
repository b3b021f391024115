"""A folder of the person's own, run before it is released; and that `--no-sandbox` is for nothing else."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from pearrt.app.local import LOCAL, run_folder
from pearrt.daemon.app_calls import ONLY_RELEASED
from pearrt.daemon.own_folder import OwnFolder
from pearrt.errors import Denied, UserError
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
            run_folder(folder, (), home, show=lambda _: None, answering=OwnFolder, contained=contained)


def test_a_misspelled_permission_is_said_as_it_is_when_staging(home: Home, tmp_path: Path) -> None:
    folder = project(tmp_path / "mine", more='[tool.pearrt.permissions]\nstorag = "1 MiB"\n')
    with pytest.raises(UserError, match="storag") as refused:
        run_folder(folder, (), home, show=lambda _: None, answering=OwnFolder)
    assert refused.value.hint == "Did you mean storage?"


@pytest.mark.parametrize("kind", ["web", "exec"])
def test_another_kind_is_run_in_the_sandbox_only(home: Home, kind: str) -> None:
    name = {"web": "web-clock", "exec": "exec-greeting"}[kind]
    done = pearrt(home, "run", "--json", "--no-sandbox", EXAMPLES / name)
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == "sandbox-unsupported"


CALLS = """
from pearrt import sdk
print(sdk.app.info().name, sdk.app.info().permissions, sdk.storage.quota() >> 20, sdk.updates.apply().ready)
sdk.log.warning("seen later")
for call in (lambda: sdk.clipboard.write("x"), lambda: sdk.p2p.join("x")):
    try:
        call()
    except sdk.Denied as e:
        print(e.code)
try:
    sdk.shelf.usage()
except sdk.Error as e:
    print(e.hint)
"""
ASKS = '[tool.pearrt.permissions]\nnotify = true\np2p = ["store"]\nstorage = "16 MiB"\n'


@pytest.mark.parametrize("flags", [[], ["--no-sandbox"]], ids=["contained", "in the open"])
def test_its_calls_are_answered_as_they_will_be_once_it_is_released(
    home: Home, tmp_path: Path, flags: list[str]
) -> None:
    done = pearrt(home, "run", *flags, project(tmp_path / "mine", CALLS, ASKS))
    said = f"mine ('p2p', 'notify') 16 None\ndenied\ndenied\n{ONLY_RELEASED}\n"
    assert done.stdout == said, done.stderr
    [log] = (home.data / LOCAL).glob("*/app.log")
    assert "warning seen later" in log.read_text()
    assert not home.log.exists()


def test_it_is_started_again_as_the_folder_is_by_then(home: Home, tmp_path: Path) -> None:
    folder = project(
        tmp_path / "mine",
        "import sys\nfrom pearrt import sdk\nprint('ready', flush=True)\ninput()\nsdk.updates.restart()\n",
    )
    with subprocess.Popen(
        [*PEARRT, "run", str(folder)],
        env={**os.environ, "PEARRT_HOME": str(home.data)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        (folder / "main.py").write_text("print('the next')\n")
        said, _ = running.communicate("\n", timeout=60)
    assert (said, running.returncode) == ("the next\n", 0)


def test_a_folder_with_a_page_is_shown(home: Home) -> None:
    with Running(Machine(home), str(EXAMPLES / "web-notes")) as browser:
        assert browser.call("/.pearrt/call", "app.info")["name"] == "web-notes"
        assert browser.call("/.pearrt/ask", "list") == []
        assert b"notes.js" in browser.get("/").body
