"""The scripts of `packaging/`: what they build from, what they resolve, how the one-file program unpacks."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from pearrt.publish.runtime_lock import MATRIX, RuntimeLock, Variant
from tests.support.dist import PACKAGING, ROOT
from tests.support.require import require, require_module
from tests.support.wheels import make_wheel


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Scripts import each other by name, as they do when they run."""
    monkeypatch.setattr(sys, "path", [str(PACKAGING), *sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).parent == PACKAGING:
            del sys.modules[name]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"packaging_{name}", PACKAGING / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


# The source


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    require("git")
    monkeypatch.delenv("BUILD_WORKING_TREE", raising=False)
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "committed.py").write_text("1\n")
    (root / "program").write_text("#!/bin/sh\n")
    (root / "program").chmod(0o755)
    dates = {"GIT_AUTHOR_DATE": "1700000000 +0100", "GIT_COMMITTER_DATE": "1700000000 +0100"}
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=x", "-c", "user.email=x@localhost", "commit", "-q", "-m", "x"],
    ):
        subprocess.run(["git", "-C", str(root), *command], env={**os.environ, **dates}, check=True)
    return root


@pytest.mark.usefixtures("scripts")
def test_a_build_sees_the_commit_and_not_the_working_tree(checkout: Path) -> None:
    source = load("source")
    (checkout / "committed.py").write_text("2\n")
    (checkout / "stray.py").write_text("3\n")
    assert source.is_dirty(checkout)
    with source.exported(checkout) as found:
        assert sorted(path.name for path in found.folder.iterdir()) == ["committed.py", "program"]
        assert (found.folder / "committed.py").read_text() == "1\n"
        assert found.epoch == 1_700_000_000


@pytest.mark.usefixtures("scripts")
def test_modes_are_gits_whatever_the_umask(checkout: Path) -> None:
    source = load("source")
    before = os.umask(0o077)
    try:
        with source.exported(checkout) as found:
            modes = {path.name: path.stat().st_mode & 0o777 for path in found.folder.iterdir()}
            times = {int(path.stat().st_mtime) for path in found.folder.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"committed.py": 0o644, "program": 0o755}
    assert times == {1_700_000_000}


@pytest.mark.usefixtures("scripts")
def test_an_unpacked_sdist_has_the_time_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = load("source")
    (tmp_path / "sdist").mkdir()
    (tmp_path / "sdist/x.py").write_text("1\n")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1234567890")
    with source.exported(tmp_path / "sdist") as found:
        assert (found.epoch, found.commit) == (1234567890, "")
        assert (found.folder / "x.py").read_text() == "1\n"


# The lock


@pytest.mark.usefixtures("scripts")
def test_markers_are_judged_for_the_machine_that_is_meant(tmp_path: Path) -> None:
    require_module("packaging.requirements")
    lock = load("lock")
    needs = (
        'here; sys_platform == "linux"',
        'there; sys_platform == "win32"',
        'old; python_version < "3.12"',
    )
    main = make_wheel(tmp_path, "main", requires=(*needs, 'extra; extra == "more"', "absent>=2"))
    have = {name: make_wheel(tmp_path, name) for name in ("here", "there", "old", "extra")} | {"main": main}

    def closure(tag: str) -> tuple[set[str], list[str]]:
        found: tuple[set[str], list[str]] = lock._closure(
            ["main"], have, lock.environment(Variant.parse(tag))
        )
        return found

    assert closure("linux-x86_64-cp311") == ({"main", "here", "old"}, ["absent>=2"])
    assert closure("windows-amd64-cp313") == ({"main", "there"}, ["absent>=2"])
    assert closure("macos-arm64-cp311") == ({"main", "old"}, ["absent>=2"])


def test_the_lock_gives_what_the_project_asks_for() -> None:
    requirements = require_module("packaging.requirements")
    lock = RuntimeLock.parse((PACKAGING / "runtime.lock").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for variant in MATRIX:
        versions = {wheel.name: wheel.version for wheel in lock.wheels_of(variant.tag)}
        for text in project["dependencies"]:
            asked = requirements.Requirement(text)
            assert versions[asked.name] in asked.specifier, f"{variant.tag}: {text}; run packaging/lock.py"


@pytest.mark.usefixtures("scripts")
@pytest.mark.parametrize(
    ("version", "debian"),
    [("0.1.0", "0.1.0"), ("1.0rc1", "1.0~rc1"), ("1.0a2", "1.0~a2"), ("1.0.dev3", "1.0~dev3")],
)
def test_pre_releases_sort_before_their_release_in_debian(version: str, debian: str) -> None:
    assert load("build_deb").debian_version(version) == debian


# The one-file program


@pytest.fixture
def onefile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load("onefile")
    carried = tmp_path / "carried"
    carried.mkdir()
    with zipfile.ZipFile(carried / "payload.zip", "w") as archive:
        for name, mode in (("python/bin/python3", 0o755), ("tree/pearrt/x.py", 0o644)):
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, (0o100000 | mode) << 16
            archive.writestr(entry, "content")
    monkeypatch.setattr(module, "CARRIED", carried)
    return module


def test_the_payload_is_unpacked_once_and_whole(onefile: ModuleType, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        folder: Path = onefile.unpacked(tmp_path / "place", "a" * 64)
    finally:
        os.umask(before)
    assert (folder / "python/bin/python3").stat().st_mode & 0o777 == 0o755
    assert (folder / "tree/pearrt/x.py").stat().st_mode & 0o777 == 0o644
    assert folder.joinpath("tree").stat().st_mode & 0o777 == 0o755  # apps of another user id read it
    (onefile.CARRIED / "payload.zip").unlink()
    assert onefile.unpacked(tmp_path / "place", "a" * 64) == folder


def test_many_first_starts_at_once_make_one_folder(onefile: ModuleType, tmp_path: Path) -> None:
    place = tmp_path / "place"
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(onefile.unpacked(place, "b" * 64))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert [path.name for path in place.iterdir()] == ["b" * 32]


def test_old_versions_go_and_a_start_under_way_stays(onefile: ModuleType, tmp_path: Path) -> None:
    place = tmp_path / "place"
    for age, name in enumerate(("new-now", "v4", "v3", "v2", "v1")):
        (place / name).mkdir(parents=True)
        os.utime(place / name, (2_000_000_000 - age, 2_000_000_000 - age))
    (place / "new-killed").mkdir()
    os.utime(place / "new-killed", (1, 1))
    onefile.unpacked(place, "d" * 64)
    assert {path.name for path in place.iterdir()} == {"new-now", "v4", "v3", "d" * 32}


def test_a_start_that_was_killed_leaves_nothing_half(
    onefile: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extract", killed)
        with pytest.raises(KeyboardInterrupt):
            onefile.unpacked(tmp_path / "place", "c" * 64)
    assert (onefile.unpacked(tmp_path / "place", "c" * 64) / "tree/pearrt/x.py").is_file()


def test_what_is_started_gets_the_persons_environment(
    onefile: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_PYI_APPLICATION_HOME_DIR", "/x")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/unpacked")
    monkeypatch.setenv("LD_LIBRARY_PATH_ORIG", "/own")
    environ = onefile._environ()
    assert environ["LD_LIBRARY_PATH"] == "/own"
    assert not [name for name in environ if name.startswith("_PYI")]
    monkeypatch.delenv("LD_LIBRARY_PATH_ORIG")
    assert "LD_LIBRARY_PATH" not in onefile._environ()
