"""Staging a folder, a project and a package: the right files, the right manifest, nothing of this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pearrt.bundle.manifest import Entry
from pearrt.errors import UserError
from pearrt.publish import stage_pip
from pearrt.publish.stage import Prepared, from_folder, from_project, from_pypi
from tests.support.trees import bundle, write_tree
from tests.support.wheels import make_wheel, only_from

EXAMPLES = Path(__file__).parents[3] / "examples"
THIS = f">={sys.version_info[0]}.{sys.version_info[1]}"


def paths(prepared: Prepared) -> list[str]:
    return sorted(str(p.relative_to(prepared.folder)) for p in prepared.folder.rglob("*") if p.is_file())


def test_clean_folder_is_staged_in_place(tmp_path: Path) -> None:
    write_tree(tmp_path, {"main.py": b"x", "lib/a.py": b"y"})
    with from_folder(
        tmp_path, name="x", version="1", entry="main.py", permissions={"network": True}
    ) as prepared:
        assert prepared.folder == tmp_path
        assert prepared.manifest.entry == Entry(file="main.py")
        assert prepared.manifest.permissions == {"network": True}


def test_caches_and_repositories_are_left_out(tmp_path: Path) -> None:
    junk = {
        "__pycache__/a.pyc": b"",
        "lib/__pycache__/b.pyc": b"",
        "old.pyc": b"",
        ".git/HEAD": b"",
        "a/.DS_Store": b"",
    }
    write_tree(tmp_path, {"main.py": b"x", "lib/a.py": b"y", ".config": b"z"} | junk)
    with from_folder(tmp_path, name="x", version="1", entry="main.py") as prepared:
        assert paths(prepared) == [".config", "lib/a.py", "main.py"]
        copied = prepared.folder
    assert not copied.exists()
    assert (tmp_path / ".git" / "HEAD").exists()


def test_link_in_a_left_out_folder_does_no_harm(tmp_path: Path) -> None:
    write_tree(tmp_path, {"main.py": b"x", ".venv/x": b""})
    (tmp_path / ".venv" / "python").symlink_to("/usr/bin/python3")
    (tmp_path / "old.pyc").symlink_to("/nowhere")
    with from_folder(tmp_path, name="x", version="1", entry="main.py") as prepared:
        assert paths(prepared) == ["main.py"]


def test_link_in_the_tree_is_refused(tmp_path: Path) -> None:
    write_tree(tmp_path, {"main.py": b"x"})
    (tmp_path / "secret").symlink_to("/etc/passwd")
    with (
        pytest.raises(UserError, match="symbolic link"),
        from_folder(tmp_path, name="x", version="1", entry="main.py"),
    ):
        pass


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a\x1b"},
        {"version": "1 0"},
        {"kind": "game"},
        {"entry": "../x"},
        {"platform": "?"},
        {"permissions": {"a": 1.5}},
        {"path": ["../x"]},
    ],
)
def test_wrong_manifest_is_the_publishers_error(tmp_path: Path, wrong: dict[str, object]) -> None:
    write_tree(tmp_path, {"main.py": b"x"})
    fields = {"name": "x", "version": "1", "entry": "main.py"} | wrong
    with pytest.raises(UserError), from_folder(tmp_path, **fields):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize("entry", ["none.py", "src/none", "none:main", "none.sub", "lib.py"])
def test_entry_that_is_not_there_is_said(tmp_path: Path, entry: str) -> None:
    write_tree(tmp_path, {"main.py": b"x", "src/lib.py": b"x"})
    with pytest.raises(UserError, match="entry"), from_folder(tmp_path, name="x", version="1", entry=entry):
        pass


@pytest.mark.parametrize("entry", ["main", "main:run", "lib:run", "src.lib", "http.server", "src/lib.py"])
def test_entry_that_is_there_is_taken(tmp_path: Path, entry: str) -> None:
    write_tree(tmp_path, {"main.py": b"x", "src/lib.py": b"x"})
    with from_folder(tmp_path, name="x", version="1", entry=entry, path=(".", "src")) as prepared:
        assert str(prepared.manifest.entry) == entry


def test_no_folder_and_an_empty_one_are_refused(tmp_path: Path) -> None:
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(UserError), from_folder(folder, name="x", version="1", entry="a"):
            pass


PROJECT = b"""
[project]
name = "thing"
version = "2.1"
requires-python = ">=3.11"
dependencies = ["helper"]
[project.scripts]
thing = "thing.cli:main"
[tool.pearrt]
path = ["src"]
include = ["src/**", "data/*.txt"]
exclude = ["**/tests", "*.secret"]
[tool.pearrt.permissions]
network = true
"""


def test_project_is_staged_by_its_table(tmp_path: Path) -> None:
    files = [
        "src/thing/cli.py",
        "src/thing/tests/test_x.py",
        "data/a.txt",
        "data/deep/b.txt",
        "x.secret",
        "setup.cfg",
    ]
    write_tree(tmp_path, {"pyproject.toml": PROJECT} | dict.fromkeys(files, b"x"))
    with from_project(tmp_path) as prepared:
        assert paths(prepared) == ["data/a.txt", "src/thing/cli.py"]
        manifest = prepared.manifest
        assert (manifest.name, manifest.version, str(manifest.entry)) == ("thing", "2.1", "thing.cli:main")
        assert (manifest.path, manifest.requires_python, manifest.platform) == (("src",), ">=3.11", "any")
        assert manifest.permissions == {"network": True}


def test_dependencies_are_vendored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_from(tmp_path / "wheels", monkeypatch)
    make_wheel(tmp_path / "wheels", "helper")
    for wanted in (b"true", b'["helper==1.0"]'):
        text = PROJECT.replace(b"[tool.pearrt]\n", b"[tool.pearrt]\ndependencies = " + wanted + b"\n")
        project = write_tree(tmp_path / "project", {"pyproject.toml": text, "src/thing/cli.py": b"x"})
        with from_project(project) as prepared:
            assert "vendor/helper/__init__.py" in paths(prepared)
            assert prepared.manifest.path == ("src", "vendor")
            assert prepared.manifest.requires_python == ">=3.11" + ("" if THIS == ">=3.11" else f",{THIS}")
        assert not (project / "vendor").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "no \\[tool.pearrt\\] table"),
        (b"not toml", "pyproject.toml"),
        (b"[tool.pearrt]\nentri = 'a'", "entri"),
        (b"[tool.pearrt]\nentry = 'a'", "no name"),
        (b"[tool.pearrt]\nentry = 'a'\nname = 'a'", "no version"),
        (b"[tool.pearrt]\nname = 'a'\nversion = '1'", "no entry"),
        (b"[tool.pearrt]\nentry = 1\nname = 'a'\nversion = '1'", "entry"),
        (b"[tool.pearrt]\nentry = 'a'\nname = 'a'\nversion = '1'\ninclude = 'x'", "include"),
        (b"[tool.pearrt]\nentry = 'a'\nname = 'a'\nversion = '1'\ninclude = ['none']", "Nothing"),
        (b"[tool]\npearrt = 1", "no table"),
        (b"\xff", "UTF-8"),
    ],
)
def test_wrong_table_is_said(tmp_path: Path, text: bytes, said: str) -> None:
    write_tree(tmp_path, {"pyproject.toml": text, "a.py": b"x"})
    with pytest.raises(UserError, match=said), from_project(tmp_path):
        pass


def test_folder_without_pyproject_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pyproject\.toml"), from_project(tmp_path):
        pass


def test_an_entry_that_is_a_table_is_told_how_to_write_one(tmp_path: Path) -> None:
    write_tree(tmp_path, {"pearrt.toml": b'name = "x"\nversion = "1"\n[entry]\nmodule = "x"\n'})
    with pytest.raises(UserError, match="entry is no text") as refused, from_project(tmp_path):
        pass
    assert 'entry = "main.py"' in refused.value.hint


def test_package_comes_with_its_dependencies_and_starts_by_its_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = tmp_path / "wheels"
    only_from(wheels, monkeypatch)
    make_wheel(
        wheels,
        "Cow-Say",
        scripts={"other": "cow_say:other", "cow_say": "cow_say:main"},
        requires=("helper>=1",),
    )
    make_wheel(wheels, "helper")
    make_wheel(wheels, "helper", "0.9")
    with from_pypi("cow.say==1.0", permissions={"network": False}) as prepared:
        assert str(prepared.manifest.entry) == "cow_say:main"
        assert (prepared.manifest.name, prepared.manifest.version) == ("Cow-Say", "1.0")
        assert (prepared.manifest.platform, prepared.manifest.requires_python) == ("any", THIS)
        found = paths(prepared)
        assert "helper/__init__.py" in found
        assert "helper-1.0.dist-info/METADATA" in found
        assert not [
            p for p in found if p.endswith(("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", ".pyc"))
        ]
        assert not [p for p in found if p.startswith("bin/")]
        command = [sys.executable, "-c", "import cow_say; cow_say.main()"]
        done = subprocess.run(command, cwd=prepared.folder, capture_output=True, text=True, check=True)
        assert done.stdout == "Cow-Say 1.0\n"
        folder = prepared.folder
    assert not folder.exists()


def test_package_staged_twice_gives_the_same_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_from(tmp_path / "wheels", monkeypatch)
    make_wheel(tmp_path / "wheels", "tool", scripts={"tool": "tool:main"})
    digests = set()
    for _ in range(2):
        with from_pypi("tool==1.0") as prepared:
            digests.add(bundle(prepared.folder, manifest=prepared.manifest).staged.digest)
    assert len(digests) == 1


def test_unclear_script_is_said_and_may_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = tmp_path / "wheels"
    only_from(wheels, monkeypatch)
    make_wheel(wheels, "tool", scripts={"one": "tool:one", "two": "tool:two"})
    make_wheel(wheels, "library")
    make_wheel(wheels, "single", scripts={"other-name": "single:main"})
    with pytest.raises(UserError, match=r"one \(tool:one\), two \(tool:two\)"), from_pypi("tool==1.0"):
        pass
    with pytest.raises(UserError, match="no console script"), from_pypi("library==1.0"):
        pass
    with from_pypi("single==1.0") as prepared:
        assert str(prepared.manifest.entry) == "single:main"
    for chosen in ("two", "tool:two"):
        with from_pypi("tool==1.0", entry=chosen) as prepared:
            assert str(prepared.manifest.entry) == "tool:two"


def test_compiled_package_pins_platform_and_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pip._vendor.packaging.tags import sys_tags

    tag = next(str(tag) for tag in sys_tags())
    only_from(tmp_path / "wheels", monkeypatch)
    make_wheel(tmp_path / "wheels", "fast", scripts={"fast": "fast:main"}, tag=tag)
    make_wheel(tmp_path / "wheels", "fast", scripts={"fast": "fast:main"})
    with from_pypi("fast==1.0") as prepared:
        assert prepared.manifest.platform != "any"
        assert f"=={sys.version_info[0]}.{sys.version_info[1]}.*" in prepared.manifest.requires_python
    with from_pypi("fast==1.0", pure=True) as prepared:
        assert (prepared.manifest.platform, prepared.manifest.requires_python) == ("any", THIS)


def test_absent_package_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_from(tmp_path / "wheels", monkeypatch)
    with pytest.raises(UserError, match="pip cannot install nothing==1"), from_pypi("nothing==1"):
        pass


@pytest.mark.parametrize(
    "requirement", ["black", "black>=1", "--help==1", "-r x==1", "a==1;x", "a @ file:///x", ""]
)
def test_requirement_that_is_no_pin_is_refused(requirement: str) -> None:
    with pytest.raises(UserError), from_pypi(requirement):
        pass


def test_option_among_dependencies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="option"):
        stage_pip.install(["--index-url=x"], tmp_path / "x")


def test_missing_pip_is_said_with_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_pip.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs pip") as caught:
        stage_pip.install(["a==1"], tmp_path / "x")
    assert "ensurepip" in caught.value.hint


@pytest.mark.parametrize(("name", "entry"), [("hello", "hello.py"), ("guestbook", "guestbook.main:main")])
def test_examples_are_projects(name: str, entry: str) -> None:
    with from_project(EXAMPLES / name) as prepared:
        assert str(prepared.manifest.entry) == entry
        assert bundle(prepared.folder, manifest=prepared.manifest).index.manifest.name == name


def test_a_pearrt_toml_is_the_table_alone_and_comes_first(tmp_path: Path) -> None:
    (tmp_path / "pearrt.toml").write_text(
        'name = "app"\nversion = "1"\nentry = "main.py"\n[permissions]\nnotify = true\n'
    )
    (tmp_path / "main.py").write_text("")
    with from_project(tmp_path) as prepared:
        assert (prepared.manifest.name, prepared.manifest.permissions) == ("app", {"notify": True})
    (tmp_path / "pearrt.toml").write_text('name = "app"\nversion = "1"\nentry = "main.py"\npermission = 1\n')
    with pytest.raises(UserError, match="permission"), from_project(tmp_path):
        pass
