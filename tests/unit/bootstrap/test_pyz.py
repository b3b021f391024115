"""The one file: small, the same whenever and wherever it is built, and standard library only."""

from __future__ import annotations

import ast
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pearrt.errors import UserError
from pearrt.link import HostPort, Link
from pearrt.publish import pyz
from pearrt.publish.pyz import Sources, bare, build, write_pyz

RUNTIME, APP = Link(b"r" * 32), Link(b"a" * 32)
NODES = [HostPort("192.0.2.1", 7677)]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def built() -> bytes:
    return build(runtime=RUNTIME, nodes=NODES, app=APP)


def modules(data: bytes) -> dict[str, bytes]:
    with (
        zipfile.ZipFile(io.BytesIO(data)) as archive,
        tarfile.open(fileobj=io.BytesIO(lzma.decompress(archive.read("core.tar.xz")))) as core,
    ):
        return {member.name: core.extractfile(member).read() for member in core}  # type: ignore[union-attr]


def test_it_is_small_and_holds_what_it_says(built: bytes) -> None:
    assert len(built) <= pyz.MAX_BYTES <= 128 * 1024
    with zipfile.ZipFile(io.BytesIO(built)) as archive:
        assert archive.namelist() == ["__main__.py", "carried.json", "core.tar.xz"]
        assert json.loads(archive.read("carried.json")) == {
            "app": str(APP),
            "nodes": ["192.0.2.1:7677"],
            "runtime": str(RUNTIME),
        }
    assert {"bootstrap/install.py", "pearrt/trust/app.py", "pearrt/dht/node.py"} <= modules(built).keys()
    assert not any(
        name.startswith(("pearrt/cli", "pearrt/swarm", "pearrt/daemon")) for name in modules(built)
    )


def test_two_builds_in_other_folders_at_other_times_are_the_same_bytes(built: bytes, tmp_path: Path) -> None:
    found = Sources.found().folders
    for name in ("one", "another/deeper"):
        folders = {package: tmp_path / name / package for package in found}
        for package, source in found.items():
            shutil.copytree(source, folders[package], ignore=shutil.ignore_patterns("__pycache__"))
            for path in folders[package].rglob("*.py"):
                os.utime(path, (len(name), len(name)))
        assert build(runtime=RUNTIME, nodes=NODES, app=APP, sources=Sources(folders)) == built


def test_the_script_and_the_command_build_the_same(built: bytes, tmp_path: Path) -> None:
    options = ["--runtime", str(RUNTIME), "--node", str(NODES[0])]
    made = []
    for line in (
        [str(ROOT / "packaging/build_pyz.py"), *options, "--app", str(APP)],
        ["-m", "pearrt", "bootstrapper", *options, "--for", str(APP)],
    ):
        path = tmp_path / f"{len(made)}.pyz"
        subprocess.run([sys.executable, *line, "-o", str(path)], check=True, capture_output=True)
        made.append(path.read_bytes())
        assert path.stat().st_mode & 0o777 == 0o755
    assert made == [built, built]


def test_every_module_in_it_imports_with_the_standard_library_alone(built: bytes, tmp_path: Path) -> None:
    write_pyz(tmp_path / "x.pyz", built)
    program = (
        "import sys, importlib\n"
        f"sys.path.insert(0, {str(tmp_path / 'x.pyz')!r})\n"
        "import zipimport\n"
        "archive = zipimport.zipimporter(sys.path[0])\n"
        "space = {}\n"
        "exec(archive.get_source('__main__').partition('if __name__')[0], space)\n"
        "files = space['unpacked'](archive.get_data(sys.path[0] + '/core.tar.xz'))\n"
        "sys.meta_path.insert(0, space['Core'](sys.path[0], files))\n"
        "names = [n[:-3].removesuffix('/__init__').replace('/', '.') for n in files]\n"
        "for name in names: importlib.import_module(name)\n"
        "tops = {name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)\n"
        "print(sorted(tops - {'__main__', '__mp_main__'}), len(names))\n"
    )
    line = [sys.executable, "-I", "-S", "-W", "error", "-c", program]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.stdout == f"['bootstrap', 'pearrt'] {len(modules(built))}\n", done.stderr


@pytest.mark.parametrize("flags", [[], ["-I"], ["-I", "-S"]])
def test_it_runs_with_nothing_installed(built: bytes, tmp_path: Path, flags: list[str]) -> None:
    write_pyz(tmp_path / "x.pyz", built)
    line = [sys.executable, *flags, str(tmp_path / "x.pyz"), "--pearrt", "--version"]
    done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (done.stdout.split()[:2], done.stderr) == (["pearrt", "bootstrapper"], "")


def test_it_runs_from_the_source_tree_too(tmp_path: Path) -> None:
    line = [sys.executable, str(ROOT / "bootstrap"), "--version"]
    done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.startswith("pearrt bootstrapper")


def test_an_old_python_is_told_so() -> None:
    """The first file is grammar of long ago, and looks at the version before anything else."""
    source = (Sources.found().folders["bootstrap"] / "__main__.py").read_text()
    source.encode("ascii")
    ast.parse(source, feature_version=(3, 4))
    program = f"import sys\nsys.version_info = (3, 9, 2)\n__name__ = '__main__'\nexec({source!r})\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "needs Python 3.11 or later; this is Python 3.9.2" in done.stderr


def without_docstrings(source: bytes) -> tuple[str, list[int]]:
    """What the source means, and the lines of its statements."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body: list[Any] = getattr(node, "body", [])
        first = body[0] if isinstance(body, list) and body else None
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            first.value.value = ""
    return ast.dump(tree), [node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt)]


def test_left_out_are_comments_and_docstrings_and_nothing_else(built: bytes) -> None:
    for name, data in modules(built).items():
        package, _, rest = name.partition("/")
        source = (Sources.found().folders[package] / rest).read_bytes()
        assert without_docstrings(data) == without_docstrings(source), name
    tricky = (
        b'x = """a\n# no comment\n"""\ny = (\n    "a"  # b\n    "# c"\n)\n'
        b'def f():\n    """d"""  # e\n    "f"\n    return "# g"\n'
    )
    assert without_docstrings(bare(tricky))[1] == without_docstrings(tricky)[1]
    assert b"# no comment" in bare(tricky)
    assert b"# c" in bare(tricky)
    assert b"# b" not in bare(tricky)


def test_what_is_not_in_the_standard_library_cannot_get_in(tmp_path: Path) -> None:
    found = Sources.found().folders
    shutil.copytree(found["bootstrap"], tmp_path / "bootstrap")
    (tmp_path / "bootstrap" / "screen.py").write_text("def later():\n    import aiohttp\n")
    with pytest.raises(UserError, match=r"bootstrap/screen\.py imports aiohttp"):
        build(runtime=RUNTIME, sources=Sources({**found, "bootstrap": tmp_path / "bootstrap"}))


def test_one_that_would_be_too_large_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyz, "MAX_BYTES", 1000)
    with pytest.raises(UserError, match="at most 1000"):
        build(runtime=RUNTIME)
