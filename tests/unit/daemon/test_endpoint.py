"""The local API by a port, as where there are no Unix sockets: nobody gets in without the secret, and nobody
learns it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import selectors
import socket
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pearrt.daemon import endpoint, reception
from pearrt.daemon.api import allowed
from pearrt.daemon.reception import Reception
from pearrt.daemon.service import Daemon
from pearrt.errors import Unreachable
from pearrt.paths import Home
from pearrt.settings import HostPort, Settings


@pytest.fixture(autouse=True)
def no_unix_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "by_port", lambda: True)
    monkeypatch.setattr(reception, "TIMEOUT_S", 0.5)


class Echo(asyncio.Protocol):
    """Answers what it gets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@contextlib.asynccontextmanager
async def listening(path: Path) -> AsyncIterator[int]:
    """A reception before an echo; its port."""
    listener, secret = endpoint.listen(path)
    with listener:
        async with Reception(listener, secret, Echo):
            yield listener.getsockname()[1]


async def test_who_may_read_the_file_gets_in(tmp_path: Path) -> None:
    async with listening(tmp_path / "api") as port:
        connection = await asyncio.to_thread(endpoint.connect, tmp_path / "api")
        with connection:
            assert connection.getpeername() == ("127.0.0.1", port)
            await asyncio.to_thread(connection.sendall, b"GET")
            assert await asyncio.to_thread(connection.recv, 3) == b"GET"
    assert stat.S_IMODE((tmp_path / "api").stat().st_mode) == 0o600


@pytest.mark.parametrize("shown", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", bytes(32), bytes(64)])
async def test_who_does_not_know_the_secret_is_closed_on(tmp_path: Path, shown: bytes) -> None:
    """A browser's request, another user's program, one that shows nothing."""
    async with listening(tmp_path / "api") as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(shown + bytes(64 if shown else 0))
        said = b""
        with contextlib.suppress(ConnectionError):
            said = await reader.read(-1)
        assert len(said) in (0, 64)  # what the daemon drew and proved, and nothing of the echo
        writer.close()


async def test_a_proof_that_was_seen_does_not_serve_again(tmp_path: Path) -> None:
    async with listening(tmp_path / "api") as port:
        secret = bytes.fromhex(json.loads((tmp_path / "api").read_text())["secret"])
        for drawn, works in ((None, True), (bytes(32), False)):  # the daemon draws its own half anew
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(bytes(32))
            answer = await reader.readexactly(64)
            writer.write(endpoint.proof(secret, endpoint.CALLER, bytes(32), drawn or answer[:32]) + b"x")
            with contextlib.suppress(ConnectionError):
                assert (await reader.read(1) == b"x") is works
            writer.close()


@pytest.mark.parametrize("answer", [bytes(64), b"HTTP/1.1 200 OK\r\n", b"", "mirrored"])
def test_who_takes_a_dead_daemons_port_is_not_spoken_to(tmp_path: Path, answer: bytes | str) -> None:
    """Nor does it get anything that tells it the secret, or that the daemon itself would take."""
    listener, secret = endpoint.listen(tmp_path / "api")
    got: list[bytes] = []

    def impostor() -> None:
        connection, _ = listener.accept()
        with connection:
            got.append(connection.recv(1024))
            connection.sendall(got[0] * 2 if isinstance(answer, str) else answer)
            connection.shutdown(socket.SHUT_WR)
            got.append(connection.recv(1024))

    with listener:
        thread = threading.Thread(target=impostor)
        thread.start()
        with pytest.raises(OSError):
            endpoint.connect(tmp_path / "api")
        thread.join()
    assert [len(part) for part in got] == [32, 0]
    assert secret not in b"".join(got)


def test_who_answers_a_byte_at_a_time_holds_no_command_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "TIMEOUT_S", 0.1)
    listener, _ = endpoint.listen(tmp_path / "api")
    over = threading.Event()

    def impostor() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            for _ in range(64):
                connection.sendall(b"x")
                if over.wait(0.02):
                    return

    with listener:
        thread = threading.Thread(target=impostor)
        thread.start()
        with pytest.raises(TimeoutError):
            endpoint.connect(tmp_path / "api")
        over.set()
        thread.join()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"port": "x", "secret": ""}', "\0" * 2000])
def test_a_file_that_says_nothing_is_no_daemon(tmp_path: Path, text: str) -> None:
    (tmp_path / "api").write_text(text)
    with pytest.raises(ConnectionRefusedError):
        endpoint.connect(tmp_path / "api")


async def test_of_many_who_connect_at_once_few_are_listened_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reception, "MAX_PROVING", 2)
    monkeypatch.setattr(reception, "TIMEOUT_S", 60)
    async with listening(tmp_path / "api") as port:
        with contextlib.ExitStack() as opened:
            crowd = [opened.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(10)]
            loop, ended = asyncio.get_running_loop(), []

            async def watch(connection: socket.socket) -> None:
                connection.setblocking(False)
                with contextlib.suppress(ConnectionError):
                    assert await loop.sock_recv(connection, 1) == b""
                ended.append(connection)

            async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
                watching = [tasks.create_task(watch(connection)) for connection in crowd]
                while len(ended) < 8:
                    await asyncio.sleep(0.005)
                assert [task.done() for task in watching].count(False) == 2
                for task in watching:
                    task.cancel()


def test_a_daemon_that_ends_waits_on_no_closed_port(tmp_path: Path) -> None:
    """`select`, which Windows has, refuses those; other systems' waits do not notice."""
    settings = Settings(dht=False, mdns="off", listen=HostPort("127.0.0.1", 0))

    async def start_and_end() -> None:
        async with Daemon(Home.at(tmp_path), settings):
            await asyncio.sleep(0)

    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(start_and_end())


def test_where_there_are_unix_sockets_a_port_lets_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener, _ = endpoint.listen(tmp_path / "api")
    with listener, socket.create_connection(listener.getsockname()), listener.accept()[0] as connection:
        assert allowed(connection), "it had its proof"
        monkeypatch.setattr(endpoint, "by_port", lambda: False)
        assert not allowed(connection)


def test_a_place_that_cannot_be_listened_at_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "by_port", lambda: False)
    with pytest.raises(Unreachable, match="too long") as refused:
        endpoint.listen(tmp_path / ("x" * 120))
    assert "PEARRT_HOME" in refused.value.hint


def test_only_this_machine_can_connect(tmp_path: Path) -> None:
    listener, _ = endpoint.listen(tmp_path / "api")
    with listener:
        assert listener.getsockname()[0] == "127.0.0.1"
