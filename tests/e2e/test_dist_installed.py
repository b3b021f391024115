"""Each artefact is installed and run where nothing but it and what it asks for is."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import pearrt
from pearrt.paths import Home
from tests.support.clean_root import ESSENTIAL, CleanRoot
from tests.support.dist import OTHER, PACKAGING, ROOT, THIS, locked_wheels, run_script
from tests.support.require import missing, require, require_root, require_system_python

LINE = (ROOT / "tests/support/whole_line.sh").read_text(encoding="utf-8")
HELLO = re.compile(r"^hello from Python 3\.\d+$", re.MULTILINE)
LINK = "pearrt://yyyoryarywdyqnyjbefoadeqbhebnrounoktcfaadrpbs8y7daxtmhe"


@pytest.fixture(scope="module")
def wheel_and_sdist(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    out = tmp_path_factory.mktemp("dist")
    run_script("dist.py", "--only", "wheel", "--out", str(out), "--wheels", str(locked_wheels()))
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require("dpkg-deb")
    out = tmp_path_factory.mktemp("deb")
    options = ("--fast", "--python", THIS[-3:], "--out", str(out), "--wheels", str(locked_wheels()))
    run_script("build_deb.py", *options, where=OTHER)
    return next(out.glob("*.deb"))


@pytest.fixture(scope="module")
def installed(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> CleanRoot:
    """A Debian root in which dpkg installed the package."""
    require_root()
    require_system_python()
    require("bwrap", "dpkg-query")
    packages = ("python3", "bubblewrap", "passwd", "util-linux", *ESSENTIAL)
    root = CleanRoot(tmp_path_factory.mktemp("debian"), *packages)
    shutil.copy(deb, root.folder / "pearrt.deb")
    root.run("dpkg", "-i", "/pearrt.deb")
    return root


# pip


def test_the_wheel_runs_an_app_from_a_fresh_environment(
    wheel_and_sdist: tuple[Path, Path], home: Home, tmp_path: Path
) -> None:
    folder = tmp_path / "venv"
    venv.create(folder, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install", "-q", "--no-index"]
    subprocess.run([*pip, f"--find-links={locked_wheels()}", str(wheel_and_sdist[0])], check=True)
    environ = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PEARRT_HOME": str(home.data)}
    done = subprocess.run(
        ["sh", "-c", LINE, "sh", str(tmp_path / "work")],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert HELLO.search(done.stdout), done.stderr
    assert (folder / "share/man/man1/pearrt.1").is_file()
    assert (folder / "share/applications/pearrt.desktop").is_file()


def test_the_sdist_builds_the_same_wheel(wheel_and_sdist: tuple[Path, Path], tmp_path: Path) -> None:
    wheel, sdist = wheel_and_sdist
    subprocess.run(["tar", "-xzf", str(sdist), "-C", str(tmp_path)], check=True)
    (folder,) = tmp_path.iterdir()
    out = tmp_path / "out"
    run_script("dist.py", "--only", "wheel", "--out", str(out), "--wheels", str(locked_wheels()), root=folder)
    (again,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert {each.filename: each.CRC for each in first.infolist()} == {
            each.filename: each.CRC for each in second.infolist()
        }


# The one file to begin with


def test_the_pyz_starts_where_only_python_is(tmp_path: Path) -> None:
    require_root()
    require("bwrap", "dpkg-query")
    root = CleanRoot(tmp_path / "debian", "python3-minimal", "libpython3-stdlib", "dash")
    run_script("build_pyz.py", "--runtime", LINK, "-o", str(root.folder / "pearrt-bootstrap.pyz"))
    said = root.run("python3", "/pearrt-bootstrap.pyz", "--help").stdout
    assert "pearrt" in said


# Debian


def test_the_debian_package_runs_an_app(installed: CleanRoot) -> None:
    assert installed.run("pearrt", "--version").stdout.strip() == f"pearrt {pearrt.__version__}"
    assert installed.run("dpkg", "-V", "pearrt").stdout == ""
    said = installed.run("sh", "-c", LINE, "sh", "/root/work").stdout
    assert HELLO.search(said), said


def test_the_debian_package_asks_for_what_it_needs(deb: Path, tmp_path: Path) -> None:
    require_root()
    require("bwrap", "dpkg-query")
    root = CleanRoot(tmp_path / "debian", *ESSENTIAL)
    shutil.copy(deb, root.folder / "pearrt.deb")
    done = root.run("dpkg", "-i", "/pearrt.deb", check=False)
    assert done.returncode != 0
    assert "pearrt depends on bubblewrap" in done.stderr


def test_nothing_of_the_systems_python_reaches_it(installed: CleanRoot) -> None:
    evil = installed.folder / "usr/lib/python3/dist-packages"
    evil.mkdir(parents=True, exist_ok=True)
    for name in ("click.py", "sitecustomize.py"):
        (evil / name).write_text("raise SystemExit('taken over')\n")
    done = installed.run("pearrt", "--version", environ={"PYTHONPATH": "/usr/lib/python3/dist-packages"})
    assert done.stdout.startswith("pearrt ")
    for name in ("click.py", "sitecustomize.py"):
        (evil / name).unlink()


def test_the_debian_package_never_updates_itself(installed: CleanRoot) -> None:
    assert "installed by pip or a package" in installed.run("pearrt", "versions").stdout
    refused = installed.run("pearrt", "update", check=False)
    assert (refused.returncode, "package installed it" in refused.stderr) == (2, True)
    assert not list(installed.folder.glob("root/.local/share/pearrt/runtime/*"))


def test_completions_know_the_commands(installed: CleanRoot) -> None:
    share = installed.folder / "usr/share"
    for path in (
        "bash-completion/completions/pearrt",
        "zsh/vendor-completions/_pearrt",
        "fish/vendor_completions.d/pearrt.fish",
    ):
        assert "_PEARRT_COMPLETE" in (share / path).read_text()
    asked = {"_PEARRT_COMPLETE": "bash_complete", "COMP_WORDS": "pearrt ver", "COMP_CWORD": "1"}
    assert "plain,verify" in installed.run("pearrt", environ=asked).stdout


def test_the_man_page_is_well_formed(installed: CleanRoot) -> None:
    require("groff")
    page = subprocess.run(
        ["gzip", "-dc", str(installed.folder / "usr/share/man/man1/pearrt.1.gz")],
        capture_output=True, check=True,
    )  # fmt: skip
    done = subprocess.run(
        ["groff", "-K", "utf8", "-man", "-ww", "-Tutf8", "-z"],
        input=page.stdout,
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""


def test_files_have_modes_and_owners_that_do_not_depend_on_who_built(deb: Path) -> None:
    listed = subprocess.run(["dpkg-deb", "-c", str(deb)], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=5) for line in listed.splitlines()]
    assert {row[1] for row in rows} == {"root/root"}
    assert {row[0] for row in rows} == {"drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x"}
    assert len({row[3] + row[4] for row in rows}) == 1
    assert not [row[5] for row in rows if row[5].endswith((".pyc", "/tests/", "/RECORD"))]


def test_removing_the_package_leaves_nothing(installed: CleanRoot, tmp_path: Path) -> None:
    root = installed.copy(tmp_path / "debian")
    assert list((root.folder / "usr/lib/pearrt/pearrt").rglob("*.pyc"))  # compiled for all users, once
    root.run("dpkg", "-P", "pearrt")
    assert not (root.folder / "usr/lib/pearrt").exists()
    assert not list(root.folder.glob("usr/**/*pearrt*"))


# systemd


def test_the_units_are_valid(installed: CleanRoot) -> None:
    require("systemd-analyze")
    for scope, unit in (("--system", "system/pearrt-seeder.service"), ("--user", "user/pearrt.service")):
        path = installed.folder / "usr/lib/systemd" / unit
        text = path.read_text().replace("/usr/bin/pearrt", str(installed.folder / "usr/bin/pearrt"))
        copy = installed.folder / "tmp" / path.name
        copy.write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", scope, "--man=no", str(copy)],
            env={**os.environ, "XDG_RUNTIME_DIR": str(installed.folder / "run")},
            capture_output=True,
            text=True,
            check=False,
        )
        said = [line for line in done.stderr.splitlines() if "pearrt" in line]
        assert said == [], done.stderr


def test_the_seeders_user_is_made(installed: CleanRoot) -> None:
    require("systemd-sysusers")
    subprocess.run(["systemd-sysusers", f"--root={installed.folder}", "pearrt.conf"], check=True)
    users = (installed.folder / "etc/passwd").read_text().splitlines()
    (user,) = [line.split(":") for line in users if line.startswith("pearrt:")]
    assert user[5:] == ["/var/lib/pearrt", "/usr/sbin/nologin"]


def test_the_seeder_is_exposed_to_little(record_property: pytest.RecordProperty) -> None:
    require("systemd-analyze")
    unit = PACKAGING / "systemd/pearrt-seeder.service"
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    score = re.search(r"exposure level for pearrt-seeder.service: ([\d.]+)", done.stdout)
    assert score, done.stdout + done.stderr
    record_property("exposure", score[1])
    print(f"systemd-analyze security pearrt-seeder.service: {score[1]} of 10")
    assert done.returncode == 0, done.stdout  # above 1.5


def test_the_daemon_lives_with_what_the_units_forbid(installed: CleanRoot) -> None:
    """MemoryDenyWriteExecute, here by prctl(PR_SET_MDWE), and no capability."""
    script = (
        "import ctypes, os, sys\n"
        "if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0): sys.exit('not applicable')\n"
        "os.setgroups([]); os.setgid(1000); os.setuid(1000)\n"  # and so no capability
        "os.execv('/bin/sh', ['sh', '-c', '''\n"
        "pearrt daemon run & pid=$!\n"
        "until pearrt daemon status; do sleep 0.1; kill -0 $pid || exit 1; done\n"
        "kill $pid; wait $pid''' ])"
    )
    settings = {"PEARRT_HOME": "/tmp/h", "PEARRT_LISTEN": "127.0.0.1:0", "PEARRT_MDNS": "off"}
    done = installed.run(
        "python3", "-c", script, environ={**settings, "PEARRT_BOOTSTRAP": "none"}, check=False
    )
    if "not applicable" in done.stderr:
        pytest.skip("not applicable: this kernel has no PR_SET_MDWE")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "peer" in done.stdout


# The desktop


def test_the_desktop_entry_is_valid(installed: CleanRoot) -> None:
    require("desktop-file-validate")
    entry = installed.folder / "usr/share/applications/pearrt.desktop"
    done = subprocess.run(["desktop-file-validate", str(entry)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_desktop_opens_pearrt_links_with_it(tmp_path: Path) -> None:
    require("xdg-mime", "update-desktop-database")
    applications = tmp_path / "share/applications"
    applications.mkdir(parents=True)
    shutil.copy(PACKAGING / "desktop/pearrt.desktop", applications)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "share"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_DATA_DIRS": str(tmp_path / "nothing"),
    }
    (tmp_path / "config").mkdir()
    for command in (
        ["update-desktop-database", str(applications)],
        ["xdg-mime", "default", "pearrt.desktop", "x-scheme-handler/pearrt"],
    ):
        subprocess.run(command, env=environ, check=True)
    query = ["xdg-mime", "query", "default", "x-scheme-handler/pearrt"]
    done = subprocess.run(query, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "pearrt.desktop"


# A container


def test_the_containers_steps_make_a_seeder(installed: CleanRoot, deb: Path, tmp_path: Path) -> None:
    """No engine builds it here: its own RUN, COPY and ENTRYPOINT lines are carried out in a clean root. Only
    apt-get is replaced, by dpkg, as there is no network."""
    root = CleanRoot(tmp_path / "debian", "python3", "bubblewrap", "passwd", "util-linux", *ESSENTIAL)
    shutil.copy(deb, root.folder / "deb")
    stand_in = root.folder / "usr/bin/apt-get"
    stand_in.write_text(
        '#!/bin/sh\n[ "$1" = install ] || exit 0\ncp /deb /tmp/pearrt.deb\nexec dpkg -i /deb\n'
    )
    stand_in.chmod(0o755)
    environ, user, entry = {}, "", []
    for name, rest in steps((PACKAGING / "Containerfile").read_text(encoding="utf-8")):
        if name == "RUN":
            root.run("sh", "-e", "-c", rest, environ=environ)
        elif name == "COPY" and not rest.startswith("dist/"):
            shutil.copy(ROOT / rest.split()[0], root.folder / rest.split()[1].lstrip("/"))
        elif name == "ENV":
            environ |= dict(pair.split("=", 1) for pair in rest.split())
        elif name == "USER":
            user = rest
        elif name == "ENTRYPOINT":
            entry = re.findall(r'"([^"]+)"', rest)
        else:
            assert name in ("FROM", "COPY", "VOLUME", "EXPOSE", "HEALTHCHECK"), name
    folder = root.folder / "var/lib/pearrt"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    environ |= {"PEARRT_BOOTSTRAP": "none", "PEARRT_LISTEN": "127.0.0.1:0"}
    run_as = f"setpriv --reuid={user} --clear-groups --inh-caps=-all --ambient-caps=-all --bounding-set=-all"
    script = (
        f"{run_as} --no-new-privs {' '.join(entry)} {LINK} & pid=$!\n"
        f"until {run_as} pearrt daemon status; do sleep 0.1; kill -0 $pid; done\n"
        "kill $pid; wait $pid; echo ended with $?"
    )
    said = root.run("sh", "-e", "-c", script, environ=environ)
    assert "ended with 0" in said.stdout, said.stdout + said.stderr


def steps(text: str) -> list[tuple[str, str]]:
    """Instructions of a Containerfile, continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines()]


# One file


@pytest.mark.skipif(
    not os.environ.get("PEARRT_TEST_DIST"),
    reason="not applicable: built with PEARRT_TEST_DIST=1 and by `make dist`, for it takes a minute",
)
def test_the_one_file_program_runs_an_app_where_no_python_is(tmp_path: Path) -> None:
    require_root()
    require("bwrap", "dpkg-query")
    out = tmp_path / "dist"
    run_script("dist.py", "--only", "onefile", "--out", str(out), "--wheels", str(locked_wheels()))
    (program,) = out.glob("pearrt-*-linux-*")
    names = [name for name in ESSENTIAL if name != "dpkg"]
    root = CleanRoot(tmp_path / "debian", "bubblewrap", *names)
    assert not list(root.folder.glob("usr/bin/python*"))
    shutil.copy(program, root.folder / "usr/bin/pearrt")
    said = root.run("sh", "-c", LINE, "sh", "/root/work").stdout
    assert HELLO.search(said), said


def test_a_missing_tool_is_said_aloud_and_is_no_failure(tmp_path: Path) -> None:
    if not (PACKAGING / "build_pyz.py").exists():
        missing("needs packaging/build_pyz.py")
    done = subprocess.run(
        [sys.executable, str(PACKAGING / "dist.py"), "--only", "pyz", "--out", str(tmp_path)],
        env={name: value for name, value in os.environ.items() if name != "RUNTIME_LINK"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1  # it was asked for by name
    assert "SKIPPED pyz: No runtime to begin with." in done.stderr
