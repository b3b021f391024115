"""What the tests stand on: ports that nobody else takes, needs that are said, homes that fit."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest

from pearrt.paths import Home
from tests.support import require as need
from tests.support.leftovers import processes_with
from tests.support.ports import FIRST, LAST


def test_ports_are_free_and_never_given_twice(free_port: Callable[[], int]) -> None:
    ports = [free_port() for _ in range(20)]
    assert len(set(ports)) == 20
    assert all(FIRST <= port < LAST for port in ports)
    for port in ports:
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))


def test_homes_are_apart_private_and_short_enough_for_a_socket(new_home: Callable[[], Home]) -> None:
    one, other = new_home(), new_home()
    assert one.data != other.data
    assert one.data.stat().st_mode & 0o777 == 0o700
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(one.socket))


def test_a_missing_tool_skips_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    need.require("sh")
    monkeypatch.setattr(need, "IN_CI", False)
    with pytest.raises(pytest.skip.Exception, match="needs no-such-tool"):
        need.require("sh", "no-such-tool")
    with pytest.raises(pytest.skip.Exception, match="no_such_module"):
        need.require_module("no_such_module")
    monkeypatch.setattr(need, "IN_CI", True)
    with pytest.raises(pytest.fail.Exception, match="required in CI"):
        need.require("no-such-tool")


def test_the_persons_own_settings_and_home_are_out_of_sight() -> None:
    ours = {name for name in os.environ if name.startswith("PEARRT_") and not name.startswith("PEARRT_TEST_")}
    assert ours == {"PEARRT_HOME"}
    assert "prt" in os.environ["PEARRT_HOME"]


def test_a_process_is_found_by_what_its_environment_holds() -> None:
    assert processes_with("a marker that no process has, " + "x" * 40) == {}
