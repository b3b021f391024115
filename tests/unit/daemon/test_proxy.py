"""Connections of apps: to just the hosts that were granted, on public addresses that were judged, bounded,
and cut when they are taken back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator

import pytest

from pearrt.app.start import Start
from pearrt.daemon import proxy as proxies
from pearrt.daemon.instance import Instance
from pearrt.daemon.proxy import Proxy, cut, read_target
from pearrt.daemon.wire import Wire
from pearrt.errors import Denied, LimitExceeded, PeerTimeout, Unreachable, UserError
from pearrt.sandbox.policy import Permissions

NAME = "api.example.com"


class Echo:
    """A server on loopback that gives back what it gets, and its port."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()

    async def __aenter__(self) -> Echo:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write(b"end")
        self.lost.set()
        writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    async with Echo() as echo:
        yield echo


@pytest.fixture
async def instance() -> AsyncIterator[Instance]:
    ours, theirs = socket.socketpair()
    made = Instance(Start(b"a" * 32), Wire(ours))
    yield made
    cut(made)
    while made.streams:
        await asyncio.sleep(0)
    ours.close()
    theirs.close()


@pytest.fixture
def loopback_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the data path alone: tests reach nothing else."""
    monkeypatch.setattr(proxies, "is_public", lambda text: text == "127.0.0.1")


async def here(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def granted(port: int, host: str = NAME) -> Permissions:
    return Permissions(net_hosts=(f"{host}:{port}",))


@pytest.mark.usefixtures("loopback_is_public")
async def test_bytes_go_both_ways_and_each_end_is_passed_on(echo: Echo, instance: Instance) -> None:
    end = await Proxy(here).open(instance, NAME.upper(), echo.port, granted(echo.port))
    reader, writer = await asyncio.open_unix_connection(sock=end)
    sent = bytes(range(256)) * 4096
    writer.write(sent)
    writer.write_eof()
    assert await reader.read() == sent + b"end"
    writer.close()
    while instance.streams:
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("host", "port"),
    [
        (NAME, 444),
        ("example.com", 443),
        ("b." + NAME, 443),
        ("127.0.0.1", 443),
        ("localhost", 443),
        (NAME, 0),
    ],
)
async def test_only_just_what_was_granted_is_connected_to(instance: Instance, host: str, port: int) -> None:
    with pytest.raises((Denied, UserError)):
        await Proxy(here).open(instance, host, port, granted(443))
    assert not instance.streams


@pytest.mark.parametrize(
    "answers",
    [["127.0.0.1"], ["10.0.0.1", "::1"], ["169.254.169.254"], ["::ffff:127.0.0.1"], ["fe80::1%lo"], []],
)
async def test_a_granted_name_that_leads_into_the_local_network_is_refused(
    instance: Instance, answers: list[str]
) -> None:
    async def lies(host: str, port: int) -> list[str]:
        return answers

    with pytest.raises(Denied) as caught:
        await Proxy(lies).open(instance, NAME, 443, granted(443))
    assert "public address" in caught.value.message


async def test_the_address_that_was_judged_is_the_one_that_is_dialled(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up, dialled = [], []

    async def rebinding(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return ["192.168.1.1", "9.9.9.9", "127.0.0.1"] if len(looked_up) == 1 else ["127.0.0.1"]

    async def first(addresses: list[str], port: int) -> socket.socket:
        dialled.extend(addresses)
        raise OSError("nobody")

    monkeypatch.setattr(proxies, "_first", first)
    with pytest.raises(Unreachable):
        await Proxy(rebinding).open(instance, NAME, 443, granted(443))
    assert (looked_up, dialled) == ([NAME], ["9.9.9.9"])


@pytest.mark.usefixtures("loopback_is_public")
async def test_what_was_taken_back_is_cut_and_the_rest_goes_on(echo: Echo, instance: Instance) -> None:
    proxy, both = Proxy(here), Permissions(net_hosts=(f"{NAME}:{echo.port}", f"www.example.com:{echo.port}"))
    ends = [await proxy.open(instance, host, echo.port, both) for host in (NAME, "www.example.com")]
    pairs = [await asyncio.open_unix_connection(sock=end) for end in ends]
    assert cut(instance, granted(echo.port)) == 1
    assert await pairs[1][0].read() == b""
    pairs[0][1].write(b"still")
    assert await pairs[0][0].readexactly(5) == b"still"
    for _, writer in pairs:
        writer.close()


@pytest.mark.usefixtures("loopback_is_public")
async def test_an_apps_streams_are_bounded_and_come_free_again(
    echo: Echo, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxies, "MAX_STREAMS_PER_APP", 3)
    proxy = Proxy(here)
    ends = [await proxy.open(instance, NAME, echo.port, granted(echo.port)) for _ in range(3)]
    with pytest.raises(LimitExceeded):
        await proxy.open(instance, NAME, echo.port, granted(echo.port))
    for end in ends:
        end.close()
    while instance.streams:
        await asyncio.sleep(0)
    again = await proxy.open(instance, NAME, echo.port, granted(echo.port))
    again.close()


@pytest.mark.usefixtures("loopback_is_public")
async def test_a_stream_that_does_not_move_or_moves_too_much_ends(
    echo: Echo, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxies, "MAX_STREAM_BYTES", 1000)
    end = await Proxy(here).open(instance, NAME, echo.port, granted(echo.port))
    reader, writer = await asyncio.open_unix_connection(sock=end)
    writer.write(b"x" * 2000)
    with contextlib.suppress(ConnectionError):
        assert len(await reader.read()) <= 1000
    writer.close()
    monkeypatch.setattr(proxies, "IDLE_S", 0.01)
    idle = await Proxy(here).open(instance, NAME, echo.port, granted(echo.port))
    reader, writer = await asyncio.open_unix_connection(sock=idle)
    assert await reader.read() == b""
    writer.close()


@pytest.mark.usefixtures("loopback_is_public")
async def test_nobody_there_is_said_and_counts_no_more(instance: Instance) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    proxy = Proxy(here)
    for _ in range(proxies.MAX_STREAMS_PER_APP + 1):
        with pytest.raises(Unreachable):
            await proxy.open(instance, NAME, port, granted(port))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"host": 1, "port": 1},
        {"host": "x", "port": "1"},
        {"host": "x", "port": True},
        {"host": "x" * 400, "port": 1},
    ],
)
def test_a_target_that_is_none_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(UserError):
        read_target(fields)


async def test_a_name_server_that_never_answers_has_few_threads_of_an_app(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also once the app does not wait any more: the threads do."""
    answers, looking = threading.Event(), list[str]()

    def never(host: str, *_: object, **__: object) -> list[object]:
        looking.append(host)
        answers.wait(10)
        return []

    monkeypatch.setattr(proxies.socket, "getaddrinfo", never)
    monkeypatch.setattr(proxies, "CONNECT_TIMEOUT_S", 0.02)
    proxy = Proxy()
    try:
        for _ in range(4):
            with pytest.raises(PeerTimeout):
                await proxy.open(instance, NAME, 443, granted(443))
        async with asyncio.timeout(5):
            while len(looking) < proxies.MAX_LOOKUPS_PER_APP:  # the threads may be slow to start
                await asyncio.sleep(0.005)
        with pytest.raises(PeerTimeout):
            await proxy.open(instance, NAME, 443, granted(443))
        assert len(looking) == proxies.MAX_LOOKUPS_PER_APP
    finally:
        answers.set()
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(Denied, PeerTimeout):
                await proxy.open(instance, NAME, 443, granted(443))
            if len(looking) > proxies.MAX_LOOKUPS_PER_APP:
                break
