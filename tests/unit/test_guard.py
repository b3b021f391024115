"""The guard that keeps tests on this machine: it judges rightly, and what it refuses fails the test."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import guard
from tests.support.require import require_root

TESTS = Path(guard.__file__).parents[1]
OUTSIDE = ("192.0.2.1", 9)  # TEST-NET-1: even unguarded this would reach nobody


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        yield sock


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "localhost", "ip6-localhost", b"127.0.0.1"]
)
def test_loopback_is_allowed(udp: socket.socket, host: str) -> None:
    assert guard.judge_address("socket.connect", udp, (host, 80)) == ""


BEYOND = """192.0.2.1 10.0.0.1 169.254.1.1 8.8.8.8 0.0.0.0 255.255.255.255 <broadcast> 2001:db8::1
    fe80::1%eth0 :: ::ffff:10.0.0.1 127.evil.example 127.0.0.1.evil.example localhost.example"""


@pytest.mark.parametrize("host", ["", *BEYOND.split()])
@pytest.mark.parametrize("event", ["socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"])
def test_whatever_is_not_loopback_is_refused(udp: socket.socket, event: str, host: str) -> None:
    assert guard.judge_address(event, udp, (host, 80)).startswith(event)


def test_other_families_than_local_ones_are_refused() -> None:
    left, right = socket.socketpair()
    with left, right:
        assert guard.judge_address("socket.connect", left, "/run/x") == ""

    class Packet:
        family = 17

    assert "17" in guard.judge_address("socket.bind", Packet(), ("eth0", 0))


def test_mdns_leaves_only_through_loopback(udp: socket.socket) -> None:
    assert guard.judge_address("socket.sendto", udp, ("224.0.0.251", 5353)) != ""
    udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    assert guard.judge_address("socket.sendto", udp, ("224.0.0.251", 5353)) == ""
    assert guard.judge_address("socket.sendto", udp, ("224.0.0.1", 5353)) != ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        assert guard.judge_address("socket.sendto", bound, ("224.0.0.251", 5353)) == ""


def test_only_an_mdns_listener_binds_every_address(udp: socket.socket) -> None:
    assert guard.judge_address("socket.bind", udp, ("", 5353)) == ""
    assert guard.judge_address("socket.connect", udp, ("", 5353)) != ""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
        assert guard.judge_address("socket.bind", tcp, ("", 5353)) != ""


@pytest.mark.parametrize("host", ["localhost", None, "", "127.0.0.1", "8.8.8.8", "::1", b"localhost"])
def test_what_needs_no_lookup_may_be_looked_up(host: object) -> None:
    assert guard.judge_name("socket.getaddrinfo", host) == ""


@pytest.mark.parametrize("host", ["router.example", b"router.example", "localhost.example", "printer.local"])
def test_names_are_not_looked_up(host: object) -> None:
    assert guard.judge_name("socket.getaddrinfo", host) != ""


def test_python_is_not_started_without_the_guard() -> None:
    bare = {"PATH": "/bin"}
    assert guard.judge_process(["/venv/bin/python3.11", "x.py"], bare) != ""
    assert guard.judge_process(["pearrt", "daemon"], bare) != ""
    assert guard.judge_process(["pearrt", "daemon"], dict(os.environ)) == ""
    assert guard.judge_process(["pearrt", "daemon"], None) == ""
    assert guard.judge_process(["bwrap", "--", "python3"], bare) == ""
    assert guard.judge_process(["python3", "-I", "x.py"], bare) == ""


def test_this_process_is_guarded_and_the_refusal_is_recorded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, udp: socket.socket
) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv(guard.LOG, str(log))
    with pytest.raises(OSError, match="stay on this machine"):
        udp.sendto(b"", OUTSIDE)
    with pytest.raises(OSError, match="stay on this machine"):
        udp.connect(OUTSIDE)
    with pytest.raises(OSError, match="stay on this machine"):
        udp.bind(("0.0.0.0", 0))
    with pytest.raises(OSError, match="stay on this machine"):
        socket.getaddrinfo("node.example", 1)
    assert len(log.read_text().splitlines()) == 4


def _child(code: str, log: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environ = guard.environ_for_children(os.environ, str(log))
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


SEND_OUTSIDE = f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', {OUTSIDE!r})"


def test_processes_that_a_test_starts_are_guarded(tmp_path: Path) -> None:
    done = _child(SEND_OUTSIDE, tmp_path / "log")
    assert "OutsideTraffic" in done.stderr
    assert "192.0.2.1 port 9" in (tmp_path / "log").read_text()


def test_grandchildren_are_guarded(tmp_path: Path) -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SEND_OUTSIDE!r}])"
    assert "OutsideTraffic" in _child(code, tmp_path / "log").stderr
    assert (tmp_path / "log").read_text()


def test_isolated_processes_are_guarded_by_the_pth_file(tmp_path: Path) -> None:
    import sysconfig

    if not Path(sysconfig.get_path("purelib"), guard.PTH_NAME).exists():
        pytest.skip("not applicable: `make test` installs the .pth file, this environment is without it")
    assert "OutsideTraffic" in _child(SEND_OUTSIDE, tmp_path / "log", "-I").stderr


def test_a_network_namespace_of_the_test_frees_private_addresses_only(tmp_path: Path) -> None:
    require_root()
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("not applicable: no unshare command")
    code = """
import socket
for host in ("10.0.0.1", "8.8.8.8", "9.9.9.9"):
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect((host, 9))
    except OSError as e:
        print(host, type(e).__name__)
"""
    environ = guard.environ_for_children(os.environ | {guard.PLAYED: "9.9.9.9"}, str(tmp_path / "log"))
    done = subprocess.run(
        [unshare, "--net", sys.executable, "-c", code],
        env=environ, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    said = done.stdout.split("\n")[:3]
    assert said == ["10.0.0.1 OSError", "8.8.8.8 OutsideTraffic", "9.9.9.9 OSError"]


def test_a_host_that_a_test_plays_is_free_in_its_namespace_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(guard.PLAYED, "9.9.9.9")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert guard.judge_address("socket.connect", sock, ("9.9.9.9", 443))


def _session(folder: Path, test: str, conftest: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """A test session of its own, under this one's conftest."""
    copy = folder / "tests"
    shutil.copytree(TESTS / "support", copy / "support", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "conftest.py").write_text(conftest or (TESTS / "conftest.py").read_text())
    (copy / "test_it.py").write_text(textwrap.dedent(test))
    options = ["-q", "--import-mode=importlib", "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(copy)],
        cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_code_that_swallows_the_refusal_still_fails_its_test(tmp_path: Path) -> None:
    leak = f"""
        import contextlib, socket

        def test_leak():
            with contextlib.suppress(Exception), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"", {OUTSIDE!r})

        def test_innocent():
            pass
    """
    done = _session(tmp_path, leak)
    assert "Traffic would have left this machine" in done.stdout
    assert "2 passed, 1 error" in done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize(("ci", "returncode"), [("", 0), ("true", 1)])
def test_in_ci_a_skip_fails_unless_it_is_not_applicable(tmp_path: Path, ci: str, returncode: int) -> None:
    skips = """
        import pytest

        def test_lazy():
            pytest.skip("no time")

        def test_windows():
            pytest.skip("not applicable: Windows only")
    """
    done = _session(tmp_path, skips, CI=ci)
    assert done.returncode == returncode
    assert done.stdout.count("SKIPPED IN CI") == returncode
    assert "2 skipped" in done.stdout


def test_a_process_that_a_test_leaves_behind_fails_the_session(tmp_path: Path) -> None:
    forgets = """
        import subprocess, sys

        def test_forgets():
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    """
    done = _session(tmp_path, forgets)
    assert "Tests left processes behind" in done.stdout
    assert "time.sleep(60)" in done.stdout
    assert done.returncode == 1


def test_a_test_that_hangs_ends_with_its_stack_on_stderr(tmp_path: Path) -> None:
    hangs = """
        import time

        def test_hangs():
            time.sleep(60)
    """
    conftest = (TESTS / "conftest.py").read_text()
    done = _session(
        tmp_path, hangs, conftest=re.sub(r"(?m)^TEST_TIMEOUT_S = .*$", "TEST_TIMEOUT_S = 0.5", conftest)
    )
    assert "Timeout (0:00:00.500000)!" in done.stderr
    assert "in test_hangs" in done.stderr
    assert done.returncode == 1
