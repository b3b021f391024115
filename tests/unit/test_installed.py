"""What is tested is what people get: the wheel, not the source tree."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import pearrt

ROOT = Path(__file__).parents[2]


def test_the_tests_import_the_installed_wheel() -> None:
    if not os.environ.get("PEARRT_TEST_INSTALLED"):
        pytest.skip("not applicable: `make test` installs the wheel, this session uses what is there")
    assert Path(pearrt.__file__).is_relative_to(sysconfig.get_path("purelib"))


def test_the_wheel_has_every_file_of_the_package() -> None:
    source, installed = ROOT / "pearrt", Path(pearrt.__file__).parent
    names = [
        path.relative_to(source) for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"
    ]
    assert [str(name) for name in names if not (installed / name).is_file()] == []


def test_the_version_is_the_packages() -> None:
    assert importlib.metadata.version("pearrt") == pearrt.__version__


def test_nothing_of_this_repository_shadows_an_installed_library() -> None:
    """`packaging/`, `tests/`, `docs/` and their like are folders, not importable packages."""
    assert sorted(path.parent.name for path in ROOT.glob("*/__init__.py")) == ["bootstrap", "pearrt"]


def test_the_package_imports_without_the_source_tree(tmp_path: Path) -> None:
    code = "import pearrt, pearrt.errors, pearrt.link, pearrt.settings; print(pearrt.__version__)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == pearrt.__version__
