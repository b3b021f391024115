"""The local API from the caller's side: a daemon that cannot start, or ends while it is being asked."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pearrt.daemon.caller import Daemon
from pearrt.daemon.client import Client
from pearrt.errors import Unreachable
from pearrt.link import Link
from pearrt.paths import Home

Served = Callable[[socket.socket], None]


def test_a_daemon_that_cannot_start_says_why_and_what_to_do(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    home.config_file.write_text("idle_exit = 3\n")
    with pytest.raises(
        Unreachable, match=r"does not start. There is no setting .* called idle_exit"
    ) as caught:
        Client(home, environ={**os.environ, "PEARRT_HOME": str(tmp_path)}).start()
    assert caught.value.hint == "Did you mean idle_exit_s?"


def _ends_before_it_reads(connection: socket.socket) -> None:
    connection.recv(1, socket.MSG_PEEK)  # it has come, and stays unread


def _ends_after_it_read(connection: socket.socket) -> None:
    connection.recv(1 << 16)


def _makes_way(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}")


def _answers(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"result": 42}')


@contextlib.contextmanager
def _daemons(home: Home, *daemons: Served) -> Iterator[Daemon]:
    """Whom to ask: these listen at the socket one after another, each for one request."""
    home.prepare()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(home.socket))
        listening.listen()

        def serve() -> None:
            for daemon in daemons:
                while True:
                    with listening.accept()[0] as connection:
                        if connection.recv(1, socket.MSG_PEEK):  # else a look whether there is one
                            daemon(connection)
                            break

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Daemon(home)
        thread.join(10)
        assert not thread.is_alive(), "not all of them were asked"


@pytest.mark.parametrize("once", [False, True])
def test_a_request_that_a_daemon_on_its_way_out_did_not_take_goes_to_the_next(
    tmp_path: Path, once: bool
) -> None:
    with _daemons(Home.at(tmp_path), _ends_before_it_reads, _makes_way, _answers) as daemon:
        assert daemon.call("POST", "/v1/anything", once=once) == 42


def test_what_a_daemon_read_before_it_ended_goes_to_the_next(tmp_path: Path) -> None:
    with _daemons(Home.at(tmp_path), _ends_after_it_read, _answers) as daemon:
        assert daemon.call("POST", "/v1/anything") == 42


def test_what_must_not_be_done_twice_is_not_asked_twice(tmp_path: Path) -> None:
    with (
        _daemons(Home.at(tmp_path), _ends_after_it_read) as daemon,
        pytest.raises(Unreachable, match="ended before it answered"),
    ):
        daemon.roll_back(Link(b"k" * 32))


def test_a_stop_starts_nobody(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    Daemon(home).stop()
    with _daemons(home, _ends_before_it_reads) as daemon:
        daemon.stop()
    assert not home.log.exists()
