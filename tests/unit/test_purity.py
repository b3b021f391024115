"""Pure cores, thin shells: the rule is on, it bites, and the core needs nothing but the standard library."""

from __future__ import annotations

import ast
import fnmatch
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.require import require_module

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PURITY = "TID251"
IMPURE_CALLS = ("open", "input", "print", "__import__")


def _shell_patterns() -> list[str]:
    """The globs whose files may touch the world, with {a,b} spelt out."""
    ignores: dict[str, list[str]] = PYPROJECT["tool"]["ruff"]["lint"]["per-file-ignores"]
    patterns = []
    for pattern, rules in ignores.items():
        if PURITY in rules:
            head, _, rest = pattern.partition("{")
            words, _, tail = rest.partition("}")
            patterns += [head + word + tail for word in words.split(",")]
    return patterns


def _is_shell(relative: str) -> bool:
    return any(fnmatch.fnmatch(relative, pattern.replace("**", "*")) for pattern in _shell_patterns())


def pure_modules() -> Iterator[Path]:
    for path in sorted((ROOT / "pearrt").rglob("*.py")):
        if not _is_shell(path.relative_to(ROOT).as_posix()):
            yield path


def _ruff(folder: Path) -> str:
    require_module("ruff")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", PURITY, "--output-format=concise"],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The rules, over an empty tree."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def _write(folder: Path, relative: str, code: str) -> None:
    path = folder / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)


def test_the_tree_is_pure() -> None:
    assert _ruff(ROOT).strip() == "All checks passed!"


@pytest.mark.parametrize(
    "code",
    [
        "import time\n",
        "from time import monotonic\n",
        "import asyncio\n",
        "import socket\n",
        "import os\n",
        "import os.path\n",
        "from os import urandom\n",
        "import subprocess\n",
        "import threading\n",
        "from concurrent.futures import ThreadPoolExecutor\n",
        "from pathlib import Path\n",
        "import secrets\n",
        "import logging\n",
        "from http import client\n",
        "import urllib.request\n",
        "import aiohttp\n",
        "def f():\n    import time\n",
        "import random\nx = random.random()\n",
        "from random import choice\n",
        "import datetime\nx = datetime.datetime.now()\n",
    ],
)
@pytest.mark.parametrize("package", ["dht", "swarm"])
def test_an_impure_file_in_a_pure_package_fails_the_build(copy: Path, package: str, code: str) -> None:
    _write(copy, f"pearrt/{package}/new.py", code)
    assert PURITY in _ruff(copy)


def test_every_domain_package_is_under_the_rule(copy: Path) -> None:
    packages = [
        "bundle",
        "codec",
        "crypto",
        "dht",
        "lan",
        "peer",
        "publish",
        "sandbox",
        "store",
        "swarm",
        "trust",
    ]
    for package in packages:
        _write(copy, f"pearrt/{package}/new.py", "import time\n")
    report = _ruff(copy)
    assert [
        package for package in packages if f"pearrt/{package}/new.py" not in report.replace("\\", "/")
    ] == []


def test_a_shell_may_touch_the_world_and_pure_code_may_compute(copy: Path) -> None:
    _write(copy, "pearrt/dht/service.py", "import asyncio\nimport time\n")
    _write(copy, "pearrt/daemon/new.py", "import asyncio\n")
    _write(
        copy,
        "pearrt/dht/new.py",
        "import random\nfrom datetime import UTC, datetime\nx = random.Random(1).random()\n",
    )
    assert _ruff(copy).strip() == "All checks passed!"


def test_pure_modules_open_and_print_nothing() -> None:
    """What ruff cannot see: calls of built-in functions."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.func.id}()"
        for path in pure_modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS
    ]
    assert found == []


def test_no_pure_module_silences_the_rule() -> None:
    silenced = [
        str(path.relative_to(ROOT)) for path in pure_modules() if f"noqa: {PURITY}" in path.read_text()
    ]
    assert silenced == []


def test_every_named_shell_exists() -> None:
    """A name in the list that fits no file would hide the next one of that name."""
    optional = {"pearrt/runtime/**", "pearrt/sdk/**"}
    named = [
        pattern for pattern in _shell_patterns() if pattern.startswith("pearrt/") and pattern not in optional
    ]
    assert [pattern for pattern in named if not list(ROOT.glob(pattern))] == []


def _stdlib_only_modules() -> list[str]:
    """Every module of the core that the bootstrapper shares, from the import contract."""
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    sources = next(contract for contract in contracts if contract["id"] == "stdlib-only")["source_modules"]
    modules = []
    for name in sources:
        path = ROOT / name.replace(".", "/")
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        modules += [file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for file in files]
    return [name.removesuffix(".__init__") for name in modules]


def test_the_core_imports_without_site_packages() -> None:
    """`-S -I` leaves only the standard library: this is where the bootstrapper lives."""
    import pearrt

    code = (
        "import importlib, sys\n"
        f"sys.path.append({os.path.dirname(os.path.dirname(pearrt.__file__))!r})\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        root = name.partition('.')[0]\n"
        "        if root != 'pearrt' and root not in sys.stdlib_module_names:\n"
        "            raise ImportError(f'{name} is not in the standard library', name=name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"for name in {_stdlib_only_modules()!r}:\n"
        "    importlib.import_module(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
