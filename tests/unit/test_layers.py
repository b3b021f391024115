"""The layers: the contracts hold, they bite, and no package stands outside them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.require import require_module

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def _lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    require_module("importlinter")
    code = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command; "
    code += "lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=folder, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def _named_modules() -> set[str]:
    """Every module that the contracts speak of."""
    names = set()
    for contract in CONTRACTS:
        names.update(contract.get("source_modules", []))
        for layer in contract.get("layers", []):
            names.update(f"pearrt.{name}" for name in re.findall(r"\w+", layer))
    return names


def _allowed_imports() -> list[list[str]]:
    """The exceptions, each a pair of importer and imported."""
    return [line.split(" -> ") for contract in CONTRACTS for line in contract.get("ignore_imports", [])]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The contracts, over a house whose rooms are empty."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in _named_modules():
        path = tmp_path / name.replace(".", "/")
        path.mkdir(parents=True, exist_ok=True)
        (path / "__init__.py").touch()
    (tmp_path / "pearrt" / "__init__.py").touch()
    for importer, imported in _allowed_imports():
        path = tmp_path / importer.replace(".", "/")
        path.mkdir(exist_ok=True)
        (path / "__init__.py").write_text(f"def late():\n    import {imported}\n")
        if imported.startswith("pearrt."):
            (tmp_path / f"{imported.replace('.', '/')}.py").touch()
    return tmp_path


def test_an_empty_house_keeps_every_contract(copy: Path) -> None:
    done = _lint_imports(copy)
    assert done.returncode == 0, done.stdout


def test_the_tree_keeps_every_contract() -> None:
    done = _lint_imports(ROOT)
    assert done.returncode == 0, done.stdout
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in done.stdout


@pytest.mark.parametrize(
    ("module", "code", "contract"),
    [
        ("dht/new.py", "from pearrt import swarm\n", "A lower layer"),
        ("dht/new.py", "def f():\n    import pearrt.trust\n", "A lower layer"),
        ("codec/new.py", "import pearrt.link\n", "A lower layer"),
        ("store/new.py", "import pearrt.bundle\n", "A lower layer"),
        ("trust/new.py", "import pearrt.daemon\n", "A lower layer"),
        ("newroom/__init__.py", "", "A lower layer"),
        ("trust/new.py", "import nacl.signing\n", "nothing outside the standard library"),
        ("dht/new.py", "def f():\n    import aiohttp\n", "nothing outside the standard library"),
        ("daemon/client/new.py", "import asyncio\n", "before the app starts"),
    ],
)
def test_a_wrong_import_fails_the_build(copy: Path, module: str, code: str, contract: str) -> None:
    path = copy / "pearrt" / module
    path.parent.mkdir(exist_ok=True)
    path.write_text(code)
    done = _lint_imports(copy)
    assert done.returncode == 1
    broken = [line for line in done.stdout.splitlines() if "BROKEN" in line]
    assert len(broken) == 1
    assert contract in broken[0]


def test_what_run_imports_before_an_app_starts_is_little() -> None:
    """Packages count too: what a package's `__init__` imports comes along unseen by the import contracts."""
    code = "import sys, pearrt.cli.run, pearrt.sandbox.service; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    heavy = {"aiohttp", "asyncio", "nacl", "pearrt.trust.app", "rich", "ssl", "zstandard"}
    assert loaded & heavy == set()
