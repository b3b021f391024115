"""The same commit gives the same bytes: in another folder, later, under another umask, time zone, locale."""

from __future__ import annotations

import hashlib
import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pearrt.paths import Home
from tests.support.dist import OTHER, ROOT, THIS, another_checkout, locked_wheels, run_script
from tests.support.machine import Machine
from tests.support.team import Team


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return another_checkout(tmp_path_factory.mktemp("elsewhere") / "pearrt")


@pytest.fixture
def machine(home: Home) -> Iterator[Machine]:
    machine = Machine(home)
    yield machine
    machine.stop()


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_wheel_and_sdist(checkout: Path, tmp_path: Path) -> None:
    wheels = ("--wheels", str(locked_wheels()))
    run_script("dist.py", "--only", "wheel", "--out", str(tmp_path / "one"), *wheels)
    two = ("--only", "wheel", "--out", str(tmp_path / "two"), *wheels)
    run_script("dist.py", *two, root=checkout, where=OTHER)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert len(digests(tmp_path / "one")) == 3  # and SHA256SUMS
    with zipfile.ZipFile(next((tmp_path / "one").glob("*.whl"))) as wheel:
        assert {entry.external_attr >> 16 & 0o777 for entry in wheel.infolist()} <= {0o644, 0o755}
    with tarfile.open(next((tmp_path / "one").glob("*.tar.gz"))) as sdist:
        assert {(entry.uid, entry.uname) for entry in sdist} == {(0, "")}


def test_pyz(checkout: Path, tmp_path: Path) -> None:
    link = "pearrt://yyyoryarywdyqnyjbefoadeqbhebnrounoktcfaadrpbs8y7daxtmhe"
    one, two = tmp_path / "one.pyz", tmp_path / "two.pyz"
    clean = another_checkout(tmp_path / "first")
    run_script("build_pyz.py", "--runtime", link, "-o", str(one), root=clean)
    run_script("build_pyz.py", "--runtime", link, "-o", str(two), root=checkout, where=OTHER)
    assert one.read_bytes() == two.read_bytes()


def test_debian_package(checkout: Path, tmp_path: Path) -> None:
    for name, root, where in (("one", ROOT, None), ("two", checkout, OTHER)):
        out = (
            "--fast",
            "--python",
            THIS[-3:],
            "--out",
            str(tmp_path / name),
            "--wheels",
            str(locked_wheels()),
        )
        run_script("build_deb.py", *out, root=root, where=where)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_a_runtime_release_is_an_ordinary_release_and_is_reproduced_from_another_checkout(
    checkout: Path, machine: Machine, tmp_path: Path
) -> None:
    listing = tmp_path / "runtime.json"
    run_script(
        "runtime_release.py",
        *("--variant", "this", "--home", str(machine.home.data), "--listing", str(listing)),
        *("--wheels", str(locked_wheels())),
    )
    (record,) = json.loads(listing.read_text())["variants"]
    assert record["platform"] == THIS
    team = Team(machine, tmp_path)
    team.release(record["digest"])
    options = ("--runtime", "--from", str(checkout), "--wheels", str(locked_wheels()))
    found = machine.ok("reproduce", team.link, *options)
    assert (found["outcome"], found["rebuilt"]) == ("identical", record["digest"])
