"""The permission `net.hosts` with real processes: an app in its sandbox, the daemon's proxy, and a host of
the internet, played in a network namespace that has no way out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pearrt.paths import Home
from tests.support import guard
from tests.support.machine import PEARRT, Machine
from tests.support.require import require
from tests.support.team import Team

pytestmark = [pytest.mark.lab, pytest.mark.e2e, pytest.mark.sandbox]

PUBLIC, PRIVATE, OURS = "9.9.9.9", "192.168.7.7", "192.168.7.1"
SERVER = """
import socket, sys, threading
def serve(listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=echo, args=[connection], daemon=True).start()
def echo(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data.upper())
for listener in [socket.create_server((host, 443)) for host in sys.argv[1:]]:
    threading.Thread(target=serve, args=[listener]).start()
print("up", flush=True)
"""
APP = """
import asyncio, json, os, queue, socket, sys, time
from pearrt import sdk
from pearrt.sdk.channel import channel


def attempt(host, port):
    try:
        with sdk.net.connect(host, port) as connection:
            connection.sendall(b"hello")
            return connection.recv(100).decode()
    except sdk.Error as e:
        return e.code


async def by_asyncio():
    reader, writer = await asyncio.open_connection(sock=await sdk.aio.net.connect("9.9.9.9", 443))
    writer.write(b"x" * 1_000_000)
    got = await reader.readexactly(1_000_000)
    writer.close()
    return got == b"X" * 1_000_000


def main():
    said = {
        "granted": attempt("9.9.9.9", 443),
        "aio": asyncio.run(by_asyncio()),
        "other port": attempt("9.9.9.9", 80),
        "other host": attempt("9.9.9.1", 443),
        "private": attempt("192.168.7.7", 443),
        "loopback": attempt("127.0.0.1", 443),
        "closed": attempt("9.9.9.9", 444),
    }
    try:
        socket.create_connection(("9.9.9.9", 443), 2)
        said["direct"] = "open"
    except OSError as e:
        said["direct"] = e.errno
    print(json.dumps(said), flush=True)
    connection = sdk.net.connect("9.9.9.9", 443)
    print(json.dumps("connected"), flush=True)
    ended = connection.recv(100)
    print(json.dumps([ended.decode(), attempt("9.9.9.9", 443)]), flush=True)
"""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The namespace of the machine; at the other end of its only cable is the gateway, which is the internet
    too."""
    require("ip")
    if os.geteuid() != 0:
        pytest.skip("making network namespaces needs root")
    here, there = (f"prt{os.getpid() % 10_000}{name}" for name in ("m", "i"))
    monkeypatch.setenv(guard.PLAYED, PUBLIC)
    try:
        for name in (here, there):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", here, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", there)
        for name, addresses in ((here, [f"{OURS}/24"]), (there, [f"{PUBLIC}/32", f"{PRIVATE}/24"])):
            for address in addresses:
                _ip("-n", name, "addr", "add", address, "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
        _ip("-n", here, "route", "add", "default", "via", PRIVATE)
        with subprocess.Popen(
            ["ip", "netns", "exec", there, sys.executable, "-c", SERVER, PUBLIC, PRIVATE],
            stdout=subprocess.PIPE,
        ) as server:
            try:
                assert server.stdout is not None
                assert server.stdout.readline() == b"up\n"
                yield here
            finally:
                server.kill()
    finally:
        for name in (here, there):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@pytest.fixture
def machine(internet: str, new_home: Callable[[], Home]) -> Iterator[Machine]:
    machine = Machine(new_home(), prefix=("ip", "netns", "exec", internet), PEARRT_DHT="0")
    machine.ok("daemon", "start")  # inside the namespace
    yield machine
    machine.stop()


def test_an_app_reaches_just_the_hosts_it_was_granted_until_they_are_taken_back(
    machine: Machine, tmp_path: Path
) -> None:
    team = Team(machine, tmp_path, threshold=1)
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "net.py").write_text(APP)
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "net"\nversion = "1"\n[tool.pearrt]\nentry = "net:main"\n'
        f'[tool.pearrt.permissions]\nnet.hosts = ["{PUBLIC}:443", "{PUBLIC}:444"]\n'
    )
    machine.ok("release", "publish", team.link, team.stage(folder), *team.keys("alice"))
    with subprocess.Popen(
        [*machine.prefix, *PEARRT, "run", "--yes", team.link], env=machine.environ, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as app:  # fmt: skip
        try:
            assert app.stdout is not None

            def line() -> Any:
                assert app.stdout is not None
                assert app.stderr is not None
                text = app.stdout.readline()
                return json.loads(text) if text else app.stderr.read()

            assert line() == {
                "granted": "HELLO", "aio": True, "other port": "denied", "other host": "denied",
                "private": "user-error", "loopback": "user-error", "closed": "unreachable", "direct": 1,
            }  # fmt: skip
            assert line() == "connected"
            machine.ok("permissions", "revoke", team.link, f"{PUBLIC}:443")
            assert line() == ["", "denied"]
            assert app.wait(30) == 0
        finally:
            app.kill()
