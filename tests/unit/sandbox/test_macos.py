"""The macOS profile, by its text, and the runner around it with a program in `sandbox-exec`'s place: no Mac
was at hand. What these tests hold is that a profile which does not bite is found out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pearrt.bundle.manifest import Entry, Manifest
from pearrt.errors import SandboxError, Unsupported
from pearrt.sandbox import kinds, macos, macos_run
from pearrt.sandbox.launch import Launch
from pearrt.sandbox.policy import Permissions
from pearrt.sandbox.report import Tier

PROFILE = macos.profile(
    interpreter="/opt/py/bin/python3",
    readable=("/opt/py", "/apps/one/release"),
    writable=("/apps/one/data", "/tmp/x"),
)
ALLOWED = re.findall(r"\(allow ([a-z*/-]+)", PROFILE)


def test_everything_is_denied_first_and_the_network_last() -> None:
    lines = PROFILE.splitlines()
    assert lines[:2] == ["(version 1)", "(deny default)"]
    assert lines[-1] == "(deny network*)"
    assert not [
        what for what in ALLOWED if what.startswith(("network", "mach", "appleevent", "system", "iokit"))
    ]


def test_only_the_storage_and_the_temporary_folder_can_be_written() -> None:
    written = re.findall(r'\(allow file-write[a-z*-]* \((\w+) "([^"]+)"\)', PROFILE)
    assert {path for kind, path in written if kind == "subpath"} == {"/apps/one/data", "/tmp/x"}
    assert {path for kind, path in written if kind == "literal"} == {"/dev/null", "/dev/zero", "/dev/tty"}


def test_no_device_is_asked_for_anything_so_nothing_is_typed_into_the_terminal() -> None:
    assert not [what for what in ALLOWED if "ioctl" in what]


def test_no_content_of_a_home_folder_can_be_read() -> None:
    read = re.findall(r'\(allow file-read\* \(subpath "([^"]+)"\)', PROFILE)
    assert set(read) == {*macos.SYSTEM_PATHS, "/opt/py", "/apps/one/release", "/apps/one/data", "/tmp/x"}
    assert not [path for path in read if path in ("/", "/Users", "/private", "/var", "/etc", "/Library")]


def test_only_the_interpreter_and_the_shell_can_be_started_and_only_own_processes_signalled() -> None:
    started = re.findall(r'\(allow process-exec \(literal "([^"]+)"\)', PROFILE)
    assert started == ["/opt/py/bin/python3", "/bin/sh"]
    assert "(allow signal (target same-sandbox))" in PROFILE
    assert '(subpath "/apps/one/data")' not in [
        line for line in PROFILE.splitlines() if "map-executable" in line
    ]


@given(st.text(min_size=1, max_size=40))
def test_no_path_breaks_out_of_its_quotes(text: str) -> None:
    path = f"/apps/{text}"
    try:
        policy = macos.profile(interpreter="/p", readable=(path,), writable=("/w",))
    except SandboxError:
        assert any(ord(letter) < 32 or ord(letter) == 127 for letter in text)
        return
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", policy)
    assert set(outside) <= set("()abcdefghijklmnopqrstuvwxyz*-/1 \n")


def launch(folder: Path, kind: str = "python", file: str = "main.py") -> Launch:
    manifest = Manifest("app", "1", Entry(file=file), kind=kind, permissions={"run.native": True})
    (folder / "app").mkdir()
    return Launch(
        bytes(32), manifest, folder / "app", folder / "data", Permissions(run_native=True), argv=("a",)
    )


@pytest.fixture
def toothless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `sandbox-exec` that starts the program as it is."""
    path = tmp_path / "sandbox-exec"
    path.write_text('#!/bin/sh\n[ "$1" = -p ] || exit 9\nshift 2\nexec "$@"\n')
    path.chmod(0o755)
    monkeypatch.setattr(macos, "EXECUTABLE", str(path))


@pytest.mark.usefixtures("toothless")
def test_a_profile_that_does_not_bite_is_tier_e() -> None:
    report = macos_run.examine()
    assert report.tier is Tier.E
    assert "read a file of the person's" in report.layers[-1].detail


def test_a_machine_without_the_program_is_tier_e(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(macos, "EXECUTABLE", "/nowhere/sandbox-exec")
    assert macos_run.examine().tier is Tier.E


@pytest.mark.usefixtures("toothless")
def test_the_runner_passes_arguments_storage_and_exit_code(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    app = launch(tmp_path)
    (app.folder / "main.py").write_text(
        "import os, sys\nfrom pearrt import sdk\n"
        "print(sys.argv[1:], str(sdk.storage.path()) == os.getcwd())\n"
        "open(os.environ['TMPDIR'] + '/x', 'w').close()\nsys.exit(3)\n"
    )
    assert macos_run.MacSandbox(app, ()).run() == 3
    assert capfd.readouterr().out == "['a'] True\n"


def test_native_programs_and_wasi_are_not_started(tmp_path: Path) -> None:
    app = launch(tmp_path, "exec", "main")
    with pytest.raises(Unsupported):
        macos_run.MacSandbox(app, ())
    assert kinds.fault(app.manifest, app.permissions, Tier.C) is not None
