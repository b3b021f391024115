"""The local API under attack: only this user, only through its socket, only within bounds."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pearrt.daemon.api import MAX_REQUEST_BYTES
from pearrt.link import Link
from tests.support.machine import Machine, wait_for

pytestmark = pytest.mark.e2e


def raw(machine: Machine, request: bytes) -> bytes:
    """What the API's socket answers to these bytes."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(machine.home.socket))
        try:
            connection.sendall(request)
            answer = b""
            while data := connection.recv(65536):
                answer += data
        except (BrokenPipeError, ConnectionResetError):
            pass
        return answer


def test_a_socket_that_stood_there_before_is_replaced(machine: Machine) -> None:
    with socket.socket(socket.AF_UNIX) as squatter:
        squatter.bind(str(machine.home.socket))
        squatter.listen()
        os.chmod(machine.home.socket, 0o777)
    machine.ok("daemon", "start")
    assert machine.home.socket.stat().st_mode & 0o777 == 0o600
    assert machine.ok("daemon", "status")["running"] is True


def test_a_symlink_in_the_sockets_place_is_not_followed(machine: Machine) -> None:
    elsewhere = machine.home.data / "elsewhere"
    machine.home.socket.symlink_to(elsewhere)
    machine.ok("daemon", "start")
    assert not machine.home.socket.is_symlink()
    assert not elsewhere.exists()


def test_a_home_that_others_may_write_to_is_refused(machine: Machine) -> None:
    machine.home.data.chmod(0o777)
    done = machine.pearrt("daemon", "start", "--json")
    assert done.returncode == 2
    assert "others may write" in json.loads(done.stdout)["error"]["message"]
    machine.home.data.chmod(0o700)


def test_a_request_over_the_limit_is_refused_and_the_daemon_lives(machine: Machine) -> None:
    machine.ok("daemon", "start")
    size = MAX_REQUEST_BYTES + 1
    head = f"POST /v1/gc HTTP/1.1\r\nHost: p\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
    answer = raw(machine, head.encode() + b"x" * size)
    assert b" 413 " in answer.split(b"\r\n")[0] or answer == b""
    assert machine.daemon.status()["pid"]


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"null", b'{"link": 7}', b'{"link": "pearrt://x"}', b"[" * 20_000, b"\xff"]
)
def test_a_malformed_request_is_a_user_error(machine: Machine, body: bytes) -> None:
    machine.ok("daemon", "start")
    path = f"/v1/apps/{Link(b'k' * 32).key_text}/install"
    head = f"POST {path} HTTP/1.1\r\nHost: p\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    answer = raw(machine, head.encode() + body)
    error = json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]
    assert error["code"] in ("user-error", "bad-link")


@pytest.mark.parametrize("host", ["localhost", "127.evil.example", "pearrt", "127.0.0.1"])
@pytest.mark.parametrize("path", ["/v1/status", "/v1/apps", "/", "/pearrt/v1/"])
def test_a_browser_at_the_peer_port_finds_no_api_whatever_host_it_names(
    machine: Machine, host: str, path: str
) -> None:
    machine.ok("daemon", "start")
    address = machine.daemon.status()["address"]
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request("GET", path, headers={"Host": host, "Origin": "http://evil.example"})
    answer = connection.getresponse()
    assert answer.status == 404
    assert b"peer_id" not in answer.read()
    connection.close()


def test_a_post_at_the_peer_port_is_no_request(machine: Machine) -> None:
    machine.ok("daemon", "start")
    with socket.create_connection(tuple(machine.daemon.status()["address"]), timeout=15) as connection:
        connection.sendall(b"POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert b"200" not in connection.recv(4096)
    assert machine.daemon.running()


def test_a_hundred_connections_that_say_nothing_do_not_lock_others_out(machine: Machine) -> None:
    machine.ok("daemon", "start")
    silent = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    for each in silent:
        each.connect(str(machine.home.socket))
    assert machine.daemon.status()["pid"]
    for each in silent:
        each.close()


def test_a_caller_that_goes_away_ends_its_work_and_not_the_daemon(machine: Machine) -> None:
    machine.ok("daemon", "start")
    link = Link(os.urandom(32))
    body = json.dumps({"link": str(link)}).encode()
    head = f"POST /v1/apps/{link.key_text}/install HTTP/1.1\r\nHost: p\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(machine.home.socket))
        connection.sendall(head.encode() + body)
        assert connection.recv(4096)
    assert machine.daemon.status()["pid"]
    threads = [threading.Thread(target=machine.daemon.status) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_clean_stop_leaves_no_socket_that_answers_and_no_process(machine: Machine) -> None:
    machine.ok("daemon", "start")
    pid = machine.pid()
    assert machine.ok("daemon", "stop") == {"stopped": True}
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "the process to end")
    assert machine.ok("daemon", "stop") == {"stopped": False}


def test_a_stop_ends_long_work_and_says_so(machine: Machine) -> None:
    """A search for peers, by streamed events and by a plain request: both would go on for ten seconds."""
    machine.ok("daemon", "start")
    link = Link(os.urandom(32))
    body = json.dumps({"link": str(link)})
    rest = f"HTTP/1.1\r\nHost: p\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    streamed = f"POST /v1/apps/{link.key_text}/install {rest}"
    plain = f"GET /v1/apps/{link.key_text}?link={link} HTTP/1.1\r\nHost: p\r\n\r\n"
    with ThreadPoolExecutor() as threads:
        answers = [threads.submit(raw, machine, request.encode()) for request in (streamed, plain)]
        wait_for(lambda: len(_accepted(machine)) == 2, "both to be let in")
        assert machine.ok("daemon", "stop") == {"stopped": True}
        for answer in answers:
            assert b"The daemon was stopped." in answer.result()
    assert not machine.daemon.running()


def _accepted(machine: Machine) -> list[str]:
    """The open connections to the API's socket."""
    path = f" 03 {machine.home.socket}"
    lines = Path("/proc/net/unix").read_text().splitlines()
    return [line for line in lines if " ".join(line.split()[5::2]) == path.strip()]
