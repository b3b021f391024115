"""Bundles of the runtime: what is in them, what they share, what makes them."""

from __future__ import annotations

import os
import re
import shutil
import stat
import zipfile
from pathlib import Path

import pytest

from pearrt.app.reproduce_runtime import reproduce_runtime
from pearrt.bundle.framing import spans_of
from pearrt.bundle.stage import Staged
from pearrt.errors import DigestMismatch, LimitExceeded, ProtocolViolation, UserError
from pearrt.publish import runtime_tree
from pearrt.publish.reproduce import Outcome
from pearrt.publish.runtime_lock import MATRIX, RuntimeLock, Variant
from pearrt.publish.runtime_stage import stage_variant, temporary_tree
from pearrt.publish.runtime_tree import build_tree, unpack_wheel
from tests.support.runtime_source import LINUX, WINDOWS, RuntimeSource, locked

ROOT = Path(__file__).parents[3]


@pytest.fixture
def source(tmp_path: Path) -> RuntimeSource:
    return RuntimeSource(tmp_path)


def staged(source: RuntimeSource, tag: str = LINUX, packed: dict[bytes, bytes] | None = None) -> Staged:
    variant = Variant.parse(tag)
    with temporary_tree(source.lock, variant, source.folder, source.wheels) as tree:
        return stage_variant(tree, variant, lambda i, d: None, packed=packed)


def test_the_tree_has_pearrt_and_its_dependencies_side_by_side_and_nothing_of_no_use(
    source: RuntimeSource, tmp_path: Path
) -> None:
    tree = build_tree(source.lock, Variant.parse(LINUX), source.folder, source.wheels, tmp_path / "tree")
    files = {path.relative_to(tree.folder).as_posix() for path in tree.folder.rglob("*") if path.is_file()}
    assert files == {
        "fast-1.0.dist-info/METADATA",
        "fast/__init__.py",
        "fast/_speed.so",
        "fast/zlast.py",
        "pearrt-1.0.dist-info/METADATA",
        "pearrt-1.0.dist-info/licenses/LICENSE",
        "pearrt/__init__.py",
        "pearrt/core.py",
        "pearrt/demo/apps/app/main.py",
        "pure-1.0.dist-info/METADATA",
        "pure/a.py",
    }
    assert set(tree.scopes) == files


def test_licences_stay_and_descriptions_are_cut_to_their_headers(tmp_path: Path) -> None:
    path = tmp_path / "x-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.py", "")
        archive.writestr("x-1.0.dist-info/METADATA", "Name: x\r\nVersion: 1.0\r\n\r\nA long story\r\n")
        archive.writestr("x-1.0.dist-info/licenses/sub/LICENSE.txt", "MIT")
        archive.writestr("x-1.0.dist-info/COPYING", "GPL")
        archive.writestr("x-1.0.dist-info/RECORD", "x.py,,")
        archive.writestr("x-1.0.dist-info/WHEEL", "Tag: py3-none-any")
        archive.writestr("x-1.0.data/scripts/x", "#!python")
        archive.writestr("x-1.0.data/purelib/y.py", "y")
    out = tmp_path / "out"
    assert sorted(unpack_wheel(locked(path, "x"), tmp_path, out)) == [
        "x-1.0.dist-info/COPYING",
        "x-1.0.dist-info/METADATA",
        "x-1.0.dist-info/licenses/sub/LICENSE.txt",
        "x.py",
        "y.py",
    ]
    assert (out / "x-1.0.dist-info/METADATA").read_bytes() == b"Name: x\nVersion: 1.0\n"


def test_variants_share_the_blocks_of_what_they_have_in_common(source: RuntimeSource) -> None:
    here, there = staged(source, LINUX), staged(source, WINDOWS)
    shared = {block.id: block.size for block in here.index.blocks if block in there.index.blocks}
    own = here.stored_bytes - sum(shared.values())
    compiled = next(file for file in here.index.files if file.path == "fast/_speed.so")
    assert own < compiled.size  # nothing but the compiled file is Linux's own
    assert len(here.index.blocks) - len(shared) == 1


def test_no_frame_holds_files_of_two_packages(source: RuntimeSource) -> None:
    index = staged(source).index
    for spans in spans_of(index.contents, [frame.raw_size for frame in index.frames]):
        assert len({re.split(r"[-./]", span.file.path)[0] for span in spans}) == 1


def test_frames_remembered_from_another_variant_change_nothing(source: RuntimeSource) -> None:
    packed: dict[bytes, bytes] = {}
    first = [staged(source, tag, packed) for tag in (LINUX, WINDOWS)]
    assert [each.digest for each in first] == [staged(source, tag).digest for tag in (LINUX, WINDOWS)]
    assert len(packed) < sum(len(each.index.frames) for each in first)


def test_another_folder_umask_mode_and_time_give_the_same_bundle(
    source: RuntimeSource, tmp_path: Path
) -> None:
    first = staged(source)
    other = RuntimeSource(tmp_path / "another" / "place")
    for path in other.folder.rglob("*"):
        if path.is_file():
            path.chmod(0o700)
            os.utime(path, (1, 1))
    before = os.umask(0o077)
    try:
        second = staged(other)
    finally:
        os.umask(before)
    assert second.index_bytes == first.index_bytes


def test_the_manifest_says_for_which_machine_and_how_it_starts(source: RuntimeSource) -> None:
    manifest = staged(source, WINDOWS).index.manifest
    assert (manifest.name, manifest.version, manifest.platform) == ("pearrt", "1.0", WINDOWS)
    assert str(manifest.entry) == "pearrt.cli.main:main"
    assert (manifest.path, manifest.requires_python) == ((".",), "==3.12.*")


# A wheel is a stranger's ZIP until its hash says otherwise, and is read as one even then.


def test_a_wheel_that_is_not_the_locked_one_is_never_opened(source: RuntimeSource, tmp_path: Path) -> None:
    victim = source.wheels / source.lock.wheels[0].file
    victim.write_bytes(victim.read_bytes()[:-1] + b"!")
    with pytest.raises(DigestMismatch, match="lock"):
        staged(source)


@pytest.mark.parametrize(
    "name",
    ["../escape.py", "/absolute.py", "a/../../b.py", "C:/x.py", "a\\b.py", "a//b.py", "con.py", "a\nb.py"],
)
def test_paths_that_no_bundle_may_hold_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), "evil")
    with pytest.raises(ProtocolViolation):
        list(unpack_wheel(locked(path, "x"), tmp_path, tmp_path / "out"))
    assert not list(tmp_path.rglob("escape.py"))


def test_a_symbolic_link_in_a_wheel_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x-1.0-py3-none-any.whl"
    link = zipfile.ZipInfo("x.py")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ProtocolViolation, match="ordinary"):
        list(unpack_wheel(locked(path, "x"), tmp_path, tmp_path / "out"))


def test_a_file_of_two_wheels_is_refused(tmp_path: Path) -> None:
    wheels = []
    for name in ("one", "two"):
        wheels.append(tmp_path / f"{name}-1.0-py3-none-any.whl")
        with zipfile.ZipFile(wheels[-1], "w") as archive:
            archive.writestr("same.py", name)
    list(unpack_wheel(locked(wheels[0], "one"), tmp_path, tmp_path / "out"))
    with pytest.raises(ProtocolViolation, match="two wheels"):
        list(unpack_wheel(locked(wheels[1], "two"), tmp_path, tmp_path / "out"))
    assert (tmp_path / "out/same.py").read_text() == "one"


def test_a_wheel_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_tree, "MAX_UNPACKED_BYTES", 1000)
    path = tmp_path / "x-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.py", "0" * 1001)
    with pytest.raises(LimitExceeded):
        list(unpack_wheel(locked(path, "x"), tmp_path, tmp_path / "out"))


def test_bytes_that_are_no_zip_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x-1.0-py3-none-any.whl"
    path.write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(ProtocolViolation, match="ZIP"):
        list(unpack_wheel(locked(path, "x"), tmp_path, tmp_path / "out"))


# The lock


def test_the_lock_reads_back_as_it_was_written(source: RuntimeSource) -> None:
    assert RuntimeLock.parse(source.lock.encode()) == source.lock


def test_the_projects_lock_covers_the_whole_matrix_and_every_dependency() -> None:
    text = (ROOT / "packaging" / "runtime.lock").read_text(encoding="utf-8")
    lock = RuntimeLock.parse(text)
    assert lock.encode() == text
    assert lock.variants == MATRIX
    needed = {"pynacl", "aiohttp", "zstandard", "platformdirs", "click", "zeroconf", "rich"}
    for variant in MATRIX:
        assert needed <= {wheel.name for wheel in lock.wheels_of(variant.tag)}
    backport = next(wheel for wheel in lock.wheels if wheel.name == "typing-extensions")
    assert {Variant.parse(tag).python for tag in backport.variants} == {"3.11", "3.12"}
    assert "://" not in text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("format = 1", "format = 2"),
        ('name = "pure"', 'name = "../pure"'),
        ('file = "pure-1.0', 'file = "../pure-1.0'),
        ('sha256 = "', 'sha256 = "z'),
        ("size = ", "size = -"),
        (LINUX, "amiga-68000-cp311"),
        ('version = "1.0"', 'version = "2.0"'),
        ('name = "only-there"', 'name = "pure"'),
        ("[[wheel]]", "[[wheels]]"),
    ],
)
def test_a_lock_that_breaks_a_rule_is_refused(source: RuntimeSource, old: str, new: str) -> None:
    text = source.lock.encode()
    assert old in text
    with pytest.raises(UserError):
        RuntimeLock.parse(text.replace(old, new, 1))


# Reproducing


def test_a_release_is_reproduced_from_its_source_byte_for_byte(source: RuntimeSource, tmp_path: Path) -> None:
    release = staged(source)
    shutil.copytree(source.folder, tmp_path / "elsewhere")
    found = reproduce_runtime(release.index, tmp_path / "elsewhere", source.wheels)
    assert found.outcome is Outcome.IDENTICAL


def test_a_line_that_is_not_in_the_source_is_found_by_name(source: RuntimeSource) -> None:
    core = source.folder / "pearrt/core.py"
    honest = core.read_text()
    core.write_text(honest + "import evil\n")
    (source.folder / "pearrt/evil.py").write_text("steal()\n")
    release = staged(source)
    core.write_text(honest)
    (source.folder / "pearrt/evil.py").unlink()
    found = reproduce_runtime(release.index, source.folder, source.wheels)
    assert not found.same
    assert [change.path for change in found.files] == ["pearrt/core.py", "pearrt/evil.py"]


def test_the_same_files_packed_otherwise_are_told_apart(
    source: RuntimeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = staged(source)
    monkeypatch.setattr("pearrt.publish.runtime_stage.CODEC", "zlib")
    found = reproduce_runtime(release.index, source.folder, source.wheels)
    assert found.outcome is Outcome.SAME_TREE


def test_a_bundle_of_another_app_is_no_runtime(
    source: RuntimeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pearrt.publish.runtime_stage.NAME", "guestbook")
    release = staged(source)
    with pytest.raises(UserError, match="not the runtime"):
        reproduce_runtime(release.index, source.folder, source.wheels)


def test_a_folder_without_a_lock_is_not_the_source(source: RuntimeSource, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no packaging/runtime\.lock"):
        reproduce_runtime(staged(source).index, tmp_path, source.wheels)
